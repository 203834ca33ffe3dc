package awsapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/awsapi"
)

// TestBodyThatNeverEnds: a stranger announces a body and sends no more of it.
// He must not hold a connection and its memory for ever, and whoever takes
// longer than that between two requests is not cut off.
func TestBodyThatNeverEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	const patience = 200 * time.Millisecond
	front := &awsapi.Front{
		STS:      awsapi.NewSTS(awsapi.STSConfig{Keys: noKeys{}, Region: "us-east-1", Now: time.Now}),
		S3:       http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusForbidden) }),
		Patience: patience,
	}
	server := httptest.NewServer(front)
	t.Cleanup(server.Close)
	const signed = "Authorization: AWS4-HMAC-SHA256 Credential=ASIAEXAMPLEEXAMPLE00/20260101/us-east-1/sts/aws4_request, SignedHeaders=host;x-amz-date, Signature=00\r\nX-Amz-Date: 20260101T000000Z\r\n"
	for name, header := range map[string]string{"unsigned": "", "signed for STS by nobody": signed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: s3.example.com\r\nContent-Type: application/x-www-form-urlencoded\r\n%sContent-Length: 500000\r\n\r\nAction=Assume", header)
			began := time.Now()
			_ = c.SetReadDeadline(began.Add(10 * time.Second))
			if _, err := io.ReadAll(c); err != nil || time.Since(began) > 9*time.Second {
				t.Errorf("the connection was held for %s: %v", time.Since(began), err)
			}
		})
	}
	c, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	answers := bufio.NewReader(c)
	for range 2 {
		r, err := http.NewRequest(http.MethodPost, server.URL+"/", strings.NewReader(w.call("Unknown", "x")))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = formHeader.Clone()
		if err := r.Write(c); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(answers, r)
		if err != nil {
			t.Fatalf("the next request of a connection: %v", err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		time.Sleep(2 * patience)
	}
}
