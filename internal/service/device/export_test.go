package device

// Typed is typed, for its fuzz test.
func Typed(text string) (string, bool) { return typed(text) }
