package h2spec_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// An attacker speaks HTTP/2 frame by frame.
type attacker struct {
	*http2.Framer
	conn   *tls.Conn
	fields []byte // a GET, encoded
	goAway atomic.Int64
	refuse atomic.Int64
	ended  chan struct{} // when the server has ended the connection
}

func attack(t *testing.T, addr string) *attacker {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}) //nolint:gosec // the certificate is not what is tested
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	// What can't be written within a minute is not wanted any more.
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	a := &attacker{Framer: http2.NewFramer(conn, conn), conn: conn, ended: make(chan struct{})}
	if err := a.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {":authority", "localhost"}} {
		if err := e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			t.Fatal(err)
		}
	}
	a.fields = b.Bytes()
	go func() {
		defer close(a.ended)
		for {
			f, err := a.ReadFrame()
			if err != nil {
				return
			}
			switch f := f.(type) {
			case *http2.GoAwayFrame:
				a.goAway.Store(int64(f.ErrCode) + 1)
			case *http2.RSTStreamFrame:
				a.refuse.Add(1)
			}
		}
	}()
	return a
}

// answers reports whether the server answers an honest client.
func answers(t *testing.T, addr string) {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true} //nolint:gosec // the certificate is not what is tested
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr, Timeout: 30 * time.Second}).Get("https://" + addr + "/honest")
	if err != nil {
		t.Errorf("an honest client: %v", err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != 200 || resp.ProtoMajor != 2 {
		t.Errorf("an honest client: got %s by %s", resp.Status, resp.Proto)
	}
}

// slow is a handler that stands still for all but honest clients, and counts.
type slow struct {
	mu         sync.Mutex
	running    int
	peak       int
	entered    int
	release    chan struct{}
	releaseAll func()
}

func newSlow(t *testing.T) *slow {
	s := &slow{release: make(chan struct{})}
	s.releaseAll = sync.OnceFunc(func() { close(s.release) })
	t.Cleanup(s.releaseAll)
	return s
}

func (s *slow) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/honest" {
		return
	}
	s.mu.Lock()
	s.running++
	s.entered++
	s.peak = max(s.peak, s.running)
	s.mu.Unlock()
	<-s.release
	s.mu.Lock()
	s.running--
	s.mu.Unlock()
}

func (s *slow) counts() (peak, entered int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peak, s.entered
}

// mostStreams is what a server allows of one connection at a time by default.
const mostStreams = 100

// TestCVE_2023_44487_RapidReset opens streams and resets them at once, so that they do not
// count as open: there are never more handlers than streams may be, and the connection is
// ended.
func TestCVE_2023_44487_RapidReset(t *testing.T) {
	h := newSlow(t)
	addr := serve(t, h)
	a := attack(t, addr)
	sent := 0
	for id := uint32(1); sent < 50_000; id += 2 {
		if a.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: a.fields, EndStream: true, EndHeaders: true}) != nil ||
			a.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
			break
		}
		sent++
	}
	answers(t, addr)
	<-a.ended
	peak, entered := h.counts()
	t.Logf("%d streams were sent, %d handlers were entered, %d at a time", sent, entered, peak)
	if peak > mostStreams || peak == 0 {
		t.Errorf("%d handlers ran at a time, want %d at most", peak, mostStreams)
	}
	if code := a.goAway.Load() - 1; http2.ErrCode(code) != http2.ErrCodeEnhanceYourCalm { //nolint:gosec // a code
		t.Errorf("the connection ended with %d, want ENHANCE_YOUR_CALM", code)
	}
}

// TestManyStreams opens more streams than may be, and leaves them open: those beyond are
// refused, and run nothing.
func TestManyStreams(t *testing.T) {
	h := newSlow(t)
	addr := serve(t, h)
	a := attack(t, addr)
	for id := uint32(1); id < 2*2*mostStreams; id += 2 {
		if err := a.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: a.fields, EndStream: true, EndHeaders: true}); err != nil {
			break
		}
	}
	for a.refuse.Load() == 0 {
		select {
		case <-a.ended:
			t.Log("the connection has ended")
		case <-time.After(10 * time.Millisecond):
			continue
		}
		break
	}
	answers(t, addr)
	if peak, _ := h.counts(); peak > mostStreams {
		t.Errorf("%d handlers ran at a time, want %d at most", peak, mostStreams)
	}
}

// TestCVE_2023_45288_ContinuationFlood sends a header section without an end: the connection
// is ended long before it has taken what was sent, and no handler is entered.
func TestCVE_2023_45288_ContinuationFlood(t *testing.T) {
	h := newSlow(t)
	addr := serve(t, h)
	a := attack(t, addr)
	if err := a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.fields, EndStream: true}); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := range 200 {
		if err := e.WriteField(hpack.HeaderField{Name: "x-flood", Value: string(rune('a'+i%26)) + "-a-value-that-is-not-short", Sensitive: true}); err != nil {
			t.Fatal(err)
		}
	}
	const most = 64 << 20
	sent := 0
	for sent < most {
		if err := a.WriteContinuation(1, false, b.Bytes()); err != nil {
			break
		}
		sent += b.Len()
	}
	t.Logf("%d bytes were sent", sent)
	if sent >= most {
		t.Errorf("the server has taken %d bytes of one header section", sent)
	}
	<-a.ended
	if _, entered := h.counts(); entered != 0 {
		t.Errorf("%d handlers were entered", entered)
	}
	answers(t, addr)
}
