//go:build interop

package agentbench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// job is what a load process shall do: it runs on the node, as its own uid or, where
// UIDs are given, with sockets of those (as root).
type job struct {
	Address string        // of the container endpoint, or of what stands in its place
	Bearers []string      // one for all, or one for each of UIDs
	UIDs    []uint32      // whose sockets; none: our own
	C       int           // connections at a time; with UIDs for each of them
	Fresh   bool          // a new connection for each fetch
	Once    bool          // one fetch each, all at once, and no more
	Window  time.Duration // how long
	Rate    int           // fetches a second in all; 0: as many as there can be
}

// sample is what came of a job.
type sample struct {
	Fetches  int
	Refused  int
	Elapsed  time.Duration
	P50, P99 time.Duration
	Longest  time.Duration
	Errors   []string // some
}

func (s sample) rate() float64 { return float64(s.Fetches) / s.Elapsed.Seconds() }

// serveLoad does jobs, a line of JSON each, until nobody sends any.
func serveLoad() error {
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	for {
		var j job
		if err := in.Decode(&j); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := out.Encode(j.run()); err != nil {
			return err
		}
	}
}

func (j job) run() sample {
	n := max(len(j.UIDs), 1) * j.C
	took, refused, errs := make([][]time.Duration, n), atomic.Int64{}, make(chan string, 3)
	say := func(err error) {
		select {
		case errs <- err.Error():
		default:
		}
	}
	workers := make([]*worker, n)
	for i := range workers {
		w := &worker{address: j.Address, request: request(j.Address, j.Bearers[i/j.C%len(j.Bearers)]), fresh: j.Fresh}
		if len(j.UIDs) > 0 {
			w.uid = j.UIDs[i/j.C]
		}
		if !j.Fresh {
			if err := w.dial(); err != nil {
				return sample{Refused: 1, Errors: []string{err.Error()}}
			}
		}
		workers[i] = w
	}
	var wait sync.WaitGroup
	start := make(chan struct{})
	var began time.Time
	for i, w := range workers {
		wait.Go(func() {
			<-start
			for k := 0; ; k++ {
				if j.Rate > 0 {
					due := began.Add(time.Duration(k*n+i) * time.Second / time.Duration(j.Rate))
					time.Sleep(time.Until(due))
				}
				at := time.Now()
				if !j.Once && at.Sub(began) >= j.Window {
					break
				}
				if err := w.fetch(); err != nil {
					refused.Add(1)
					say(err)
					if w.conn == nil && !j.Fresh && w.dial() != nil {
						break
					}
				} else {
					took[i] = append(took[i], time.Since(at))
				}
				if j.Once {
					break
				}
			}
		})
	}
	began = time.Now()
	close(start)
	wait.Wait()
	s := sample{Refused: int(refused.Load()), Elapsed: time.Since(began)}
	for _, w := range workers {
		w.close()
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	if s.Fetches = len(all); s.Fetches > 0 {
		s.P50, s.P99, s.Longest = all[len(all)/2], all[len(all)*99/100], all[len(all)-1]
	}
	close(errs)
	for e := range errs {
		s.Errors = append(s.Errors, e)
	}
	return s
}

// request is one fetch, as SDKs send it.
func request(address, bearer string) []byte {
	return []byte("GET /v1/credentials HTTP/1.1\r\nHost: " + address + "\r\nAccept: application/json\r\nUser-Agent: bench\r\nAuthorization: " + bearer + "\r\n\r\n")
}

// worker fetches over one connection at a time. It costs as little as it can, so that
// whoever answers shows at full weight.
type worker struct {
	address string
	request []byte
	uid     uint32
	fresh   bool
	conn    net.Conn
	r       *bufio.Reader
}

func (w *worker) dial() (err error) {
	if w.uid != 0 {
		// The maker of a socket is who made it, as far as files go.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, uintptr(w.uid), 0, 0)
		defer func() { _, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, 0, 0, 0) }()
	}
	if w.conn, err = net.Dial("tcp", w.address); err != nil {
		w.conn = nil
		return err
	}
	if w.r == nil {
		w.r = bufio.NewReaderSize(w.conn, 8<<10)
	} else {
		w.r.Reset(w.conn)
	}
	return nil
}

func (w *worker) close() {
	if w.conn != nil {
		_ = w.conn.Close()
		w.conn = nil
	}
}

func (w *worker) fetch() error {
	if w.conn == nil {
		if err := w.dial(); err != nil {
			return err
		}
	}
	last, err := w.once()
	if err != nil || last || w.fresh {
		w.close()
	}
	if err == nil && last && !w.fresh {
		return w.dial()
	}
	return err
}

// once sends the request and reads a whole good answer. last: the server closes.
func (w *worker) once() (last bool, err error) {
	if _, err := w.conn.Write(w.request); err != nil {
		return false, err
	}
	line, err := w.r.ReadSlice('\n')
	if err != nil {
		return false, err
	}
	good, length := bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")), -1
	status := string(bytes.TrimSpace(line))
	for {
		if line, err = w.r.ReadSlice('\n'); err != nil {
			return false, err
		}
		if len(line) <= 2 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			length, _ = strconv.Atoi(string(value))
		case bytes.EqualFold(name, []byte("Connection")):
			last = bytes.EqualFold(value, []byte("close"))
		}
	}
	if length < 0 {
		return false, errors.New("an answer without a length")
	}
	body, err := w.r.Peek(min(length, 2<<10))
	if err != nil {
		return false, err
	}
	if !good {
		err = fmt.Errorf("%s %s", status, body)
	} else if !bytes.Contains(body, []byte(`"SecretAccessKey"`)) {
		err = fmt.Errorf("no keys: %s", body)
	}
	if _, drop := w.r.Discard(length); drop != nil {
		return false, drop
	}
	return last, err
}
