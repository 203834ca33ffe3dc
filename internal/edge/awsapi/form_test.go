package awsapi_test

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/awsapi"
	"carnet.dev/carnet/internal/edge/httpd"
)

// TestFormsAreStrangersUntilProven: a form has a stranger's time for its fields.
// Once its credential held, its file may take longer, as long as it moves.
func TestFormsAreStrangersUntilProven(t *testing.T) {
	t.Parallel()
	const patience = 200 * time.Millisecond
	for name, proven := range map[string]bool{"proven": true, "unproven": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			read := make(chan error, 1)
			front := &awsapi.Front{Patience: patience, S3: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if _, err := io.ReadFull(r.Body, make([]byte, 6)); err != nil {
					t.Error(err)
				}
				if proven {
					httpd.Proven(r)
				}
				_, err := io.Copy(io.Discard, r.Body)
				read <- err
			})}
			s := httptest.NewServer(awsapi.Patient(front, 20*patience))
			t.Cleanup(s.Close)
			c := dial(t, s.Listener.Addr().String())
			say(t, c, "POST /sales HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 10\r\n\r\nfields")
			time.Sleep(2 * patience)
			if proven {
				say(t, c, "file")
			}
			if err := <-read; (err == nil) != proven {
				t.Errorf("the file: %v", err)
			}
			if !proven {
				return
			}
			if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != 200 {
				t.Error(res, err)
			}
		})
	}
}
