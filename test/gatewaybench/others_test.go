//go:build interop

package gatewaybench

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// firstByte compares the time to the first byte of a large and a small object.
func (p *paper) firstByte(t *testing.T, a *targets) {
	const turns = 40
	p.say("\nfirst byte of GET, c=1\n")
	for _, who := range []process{a.direct, a.relay, a.nginx, a.proxy, a.carnet.process} {
		keys := a.role
		if strings.HasPrefix(who.name, "sigv4") {
			keys = aws.Credentials{}
		}
		small := &target{process: who, request: get(t, a.carnet.address, keys, kib4)}
		large := &target{process: who, request: get(t, a.carnet.address, keys, mib64)}
		var took [2][]time.Duration
		for range turns {
			for i, at := range []*target{small, large} {
				took[i] = append(took[i], firstByte(t, at))
			}
		}
		ratio := float64(median(took[1])) / float64(median(took[0]))
		p.say("  %-22s 4 KiB %8.0f µs  64 MiB %8.0f µs  %6.2f\n", who.name, us2(median(took[0])), us2(median(took[1])), ratio)
		if who.name == "carnet" {
			p.hold("first byte", claim{must: true, what: "64 MiB / 4 KiB", least: -1.5}, ratio)
			p.hold("first byte", claim{must: false, what: "64 MiB / 4 KiB", least: -1.1}, ratio)
		}
	}
}

// firstByte asks on a warm connection.
func firstByte(t *testing.T, at *target) time.Duration {
	t.Helper()
	c, err := at.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.once(&request{head: at.head, size: at.size}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := c.send(at.request); err != nil {
		t.Fatal(err)
	}
	length, err := c.head()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.r.Peek(1); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	if err := c.drain(length); err != nil {
		t.Fatal(err)
	}
	return took
}

// boto3 is what a person's own program sees: one thread.
func (p *paper) boto3(t *testing.T, a *targets) {
	venv := os.Getenv("CARNET_VENV")
	if venv == "" {
		t.Fatal("CARNET_VENV is not set: start these tests with make")
	}
	var all []*script
	for _, who := range []process{a.direct, a.proxy, a.carnet.process} {
		all = append(all, startScript(t, venv, who, a.role))
	}
	for _, do := range []string{"get 4096", "get 67108864", "put 67108864"} {
		rates := map[string][]float64{}
		for i := range *rounds {
			for _, s := range all {
				fmt.Printf("\rboto3 %-30s round %d of %d: %-24s", do, i+1, *rounds, s.name)
				rates[s.name] = append(rates[s.name], s.rate(t, do, *window))
			}
		}
		fmt.Printf("\r%-100s\r", "")
		p.say("\nboto3, one thread: %s\n", do)
		for _, s := range all {
			of := func(them string) float64 {
				var each []float64
				for i, r := range rates[s.name] {
					each = append(each, r/rates[them][i])
				}
				return median(each)
			}
			p.say("  %-22s %9.1f/s  %5.2f of direct, %5.2f of sigv4-proxy\n", s.name, median(rates[s.name]), of("direct"), of("sigv4-proxy"))
		}
	}
}

// script is a Python process that does what a line says and answers its rate.
type script struct {
	process
	in  io.Writer
	out *bufio.Reader
}

const program = `
import io, sys, time, boto3
from botocore.config import Config
s3 = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id=sys.argv[2], aws_secret_access_key=sys.argv[3],
    aws_session_token=sys.argv[4] or None, config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}))
def get(size):
    body = s3.get_object(Bucket="bench", Key="%d-k" % size)["Body"]
    n = 0
    while True:
        b = body.read(1 << 20)
        if not b: break
        n += len(b)
    assert n == size
content = {}
def put(size):
    b = content.setdefault(size, b"0123456789abcdef" * (size // 16))
    s3.put_object(Bucket="bench", Key="%d-k" % size, Body=b)
for line in sys.stdin:
    what, size, seconds = line.split()
    do, size, end, n = {"get": get, "put": put}[what], int(size), float(seconds), 0
    do(size)
    began = time.monotonic()
    while time.monotonic() - began < end:
        do(size); n += 1
    print(n / (time.monotonic() - began), flush=True)
`

func startScript(t *testing.T, venv string, who process, keys aws.Credentials) *script {
	t.Helper()
	cmd := exec.Command(filepath.Join(venv, "bin", "python"), "-c", program, "http://"+who.address, keys.AccessKeyID, keys.SecretAccessKey, keys.SessionToken)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	return &script{who, in, bufio.NewReader(out)}
}

func (s *script) rate(t *testing.T, do string, window time.Duration) float64 {
	t.Helper()
	if _, err := fmt.Fprintf(s.in, "%s %f\n", do, window.Seconds()); err != nil {
		t.Fatal(err)
	}
	line, err := s.out.ReadString('\n')
	if err != nil {
		t.Fatalf("boto3 at %s: %v", s.name, err)
	}
	rate, err := strconv.ParseFloat(strings.TrimSpace(line), 64)
	if err != nil {
		t.Fatal(err)
	}
	return rate
}
