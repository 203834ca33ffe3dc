package httpd

import (
	"log/slog"
	"net/http"
	"time"
)

// NewServer gives an HTTP server for h whose limits suit a port that strangers
// reach. Answers may take 100 s: a sign-in waits for the STS of each account.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      100 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
