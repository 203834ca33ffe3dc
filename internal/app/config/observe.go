package config

// AccessLog says where the line of each S3 request goes.
type AccessLog struct {
	// Format is AccessJSON, AccessS3 or AccessOff; default AccessJSON.
	Format AccessFormat `yaml:"format"`
	// File takes the lines; it may be renamed at any time. Empty: they go where
	// the server's own log goes, as JSON.
	File string `yaml:"file"`
}

// AccessFormat is how the line of an S3 request is written.
type AccessFormat string

// The formats.
const (
	AccessJSON AccessFormat = "json"
	AccessS3   AccessFormat = "s3" // S3's server access log format
	AccessOff  AccessFormat = "off"
)

func (c *Config) completeObservation() {
	if c.AccessLog.Format == "" {
		c.AccessLog.Format = AccessJSON
	}
	for _, s := range []*Switch{&c.Audit.Reads, &c.Audit.Writes, &c.Audit.Strict} {
		if *s == "" {
			*s = Off
		}
	}
}

func (v *validator) audit(a Audit) {
	for _, s := range []struct {
		key   string
		value Switch
	}{{"reads", a.Reads}, {"writes", a.Writes}, {"strict", a.Strict}} {
		if s.value != On && s.value != Off {
			v.bad("audit."+s.key, "%q: want on or off", s.value)
		}
	}
}

func (v *validator) accessLog(a AccessLog) {
	switch {
	case a.Format == AccessS3 && a.File == "":
		v.bad("access_log.file", "missing: lines of the format s3 can't stand in the server's own log")
	case a.Format == AccessOff && a.File != "":
		v.bad("access_log.file", "nothing is written to it with format: off")
	case a.Format != AccessJSON && a.Format != AccessS3 && a.Format != AccessOff:
		v.bad("access_log.format", "%q: want json, s3 or off", a.Format)
	}
}
