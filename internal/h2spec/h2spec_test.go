package h2spec_test

import (
	"context"
	"crypto/tls"
	"encoding/xml"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/transport"
)

// serve runs a server of package transport with h.
func serve(t *testing.T, h http.Handler) (addr string) {
	t.Helper()
	cert, err := transport.SelfSigned()
	if err != nil {
		t.Fatal(err)
	}
	srv, err := transport.NewServer("", h, transport.ServerConfig{
		Certificates: []tls.Certificate{cert}, ShutdownTimeout: time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ln := listen(t)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = transport.Serve(ctx, srv, ln) // cut off what floods have left
	}()
	t.Cleanup(func() { stop(); <-done })
	return ln.Addr().String()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// servePlain runs a server of net/http alone.
func servePlain(t *testing.T, h http.Handler) (addr string) {
	t.Helper()
	cert, err := transport.SelfSigned()
	if err != nil {
		t.Fatal(err)
	}
	ln := listen(t)
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, //nolint:gosec // what net/http does by itself
	}
	go func() { _ = srv.ServeTLS(ln, "", "") }()
	t.Cleanup(func() { _ = srv.Close() })
	return ln.Addr().String()
}

// A verdict of h2spec.
type verdict struct {
	tests  int
	failed map[string]bool
}

// run runs h2spec against a server.
func run(binary, addr, dir string) (v verdict, err error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return v, err
	}
	file := filepath.Join(dir, port+".xml")
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	out, _ := exec.CommandContext(ctx, binary, "-h", "127.0.0.1", "-p", port, "-t", "-k", "-j", file).CombinedOutput() // fails if a test does
	b, err := os.ReadFile(file)
	if err != nil {
		return v, fmt.Errorf("%w: %s", err, out)
	}
	var report struct {
		Suites []struct {
			Package string `xml:"package,attr"`
			Cases   []struct {
				Name    string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b, &report); err != nil {
		return v, err
	}
	v.failed = make(map[string]bool)
	for _, s := range report.Suites {
		for i, c := range s.Cases {
			v.tests++
			if c.Failure != nil || c.Error != nil {
				v.failed[s.Package+" "+strconv.Itoa(i+1)+" "+c.Name] = true
			}
		}
	}
	return v, nil
}

// TestRFC9113_Conformance has h2spec judge the server, and net/http alone beside it: nothing
// fails here that does not fail there.
func TestRFC9113_Conformance(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "h2spec")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/summerwind/h2spec/cmd/h2spec").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "hello")
	})
	var verdicts [2]verdict
	var wg sync.WaitGroup
	for i, addr := range []string{serve(t, h), servePlain(t, h)} {
		wg.Go(func() {
			var err error
			if verdicts[i], err = run(binary, addr, dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	ours, plain := verdicts[0], verdicts[1]
	t.Logf("of %d tests %d fail, and %d with net/http alone", ours.tests, len(ours.failed), len(plain.failed))
	if ours.tests < 140 || ours.tests != plain.tests {
		t.Errorf("%d and %d tests ran, want as many, and 140 or more", ours.tests, plain.tests)
	}
	for name := range ours.failed {
		if !plain.failed[name] {
			t.Errorf("%s fails", name)
		}
	}
}
