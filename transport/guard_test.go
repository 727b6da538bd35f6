package transport_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/transport"
)

// keyUpdate returns the first record of a client whose TLS 1.3 secrets are in log: a KeyUpdate
// that asks for one in return (RFC 8446, section 4.6.3).
func keyUpdate(t *testing.T, log string) []byte {
	t.Helper()
	var secret []byte
	for line := range strings.Lines(log) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "CLIENT_TRAFFIC_SECRET_0" {
			secret = must(hex.DecodeString(f[2]))
		}
	}
	expand := func(label string, n int) []byte {
		label = "tls13 " + label
		info := binary.BigEndian.AppendUint16(nil, uint16(n)) //nolint:gosec // 16 or 12
		info = append(append(info, byte(len(label))), label...)
		return must(hkdf.Expand(sha256.New, secret, string(append(info, 0)), n))
	}
	aead := must(cipher.NewGCM(must(aes.NewCipher(expand("key", 16)))))
	plain := []byte{24, 0, 0, 1, 1, 22} // key_update, update_requested; a handshake record
	header := []byte{23, 3, 3, 0, byte(len(plain) + aead.Overhead())}
	return aead.Seal(header, expand("iv", 12), plain, header)
}

// stuck returns a connection whose KeyUpdate is answered, and which does not read.
func stuck(t *testing.T, c *tls.Config, ln *pipes) net.Conn {
	t.Helper()
	var log strings.Builder
	c.KeyLogWriter, c.NextProtos = &log, []string{"http/1.1"}
	conn := tls.Client(ln.dial(t), c)
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	if conn.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skip("another cipher suite")
	}
	if _, err := conn.NetConn().Write(keyUpdate(t, log.String())); err != nil {
		t.Fatal(err)
	}
	return conn.NetConn()
}

// A client that asks for new keys, and does not read the answer, has crypto/tls write from
// within a read, where net/http has set no deadline: that ends too.
func TestAPI4_KeyUpdateThatIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, c := newServer(t, ok, transport.ServerConfig{TLS13Only: true})
		srv.TLSConfig.SessionTicketsDisabled = true // which would be written, too
		ended := make(chan time.Time, 1)
		srv.ConnState = func(_ net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				ended <- time.Now()
			}
		}
		ln := newPipes()
		stop := ln.serve(t, srv)
		begin := time.Now()
		conn := stuck(t, c, ln)
		if got := (<-ended).Sub(begin); got < 30*time.Second || got > 36*time.Second {
			t.Errorf("the connection has ended after %v, want about 30 s", got)
		}
		_ = conn.Close()
		if err := stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// Nor does it keep a server from ending, which would wait for it to be closed.
func TestAPI4_KeyUpdateThatIsNotReadWhileDraining(t *testing.T) {
	srv, c := newServer(t, ok, transport.ServerConfig{TLS13Only: true, ShutdownTimeout: 100 * time.Millisecond})
	srv.TLSConfig.SessionTicketsDisabled = true
	ln := newPipes()
	stop := ln.serve(t, srv)
	conn := stuck(t, c, ln)
	time.Sleep(50 * time.Millisecond) // until it is answered
	done := make(chan error, 1)
	go func() { done <- stop() }()
	select {
	case err := <-done:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Serve: got %v, want DeadlineExceeded", err)
		}
	case <-time.After(20 * time.Second): // less than a write may take
		t.Error("Serve has not returned")
	}
	_ = conn.Close()
}

// Who has taken over a connection may wait for its client as long as he likes.
func TestHijackedConnectionsAreNotGuarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wrote time.Duration
		written := make(chan error, 1)
		srv, c := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			begin := time.Now()
			_, err = conn.Write([]byte("late"))
			wrote = time.Since(begin)
			_ = conn.Close()
			written <- err
		}), transport.ServerConfig{})
		srv.TLSConfig.SessionTicketsDisabled = true
		hijacked := false
		srv.ConnState = func(_ net.Conn, s http.ConnState) { hijacked = hijacked || s == http.StateHijacked }
		ln := newPipes()
		stop := ln.serve(t, srv)
		c.NextProtos = []string{"http/1.1"}
		conn := tls.Client(ln.dial(t), c)
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		got := make([]byte, 4)
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != "late" {
			t.Errorf("got %q, %v", got, err)
		}
		go func() { _, _ = io.Copy(io.Discard, conn) }() // the farewell
		if err := <-written; err != nil || wrote != 10*time.Minute || !hijacked {
			t.Errorf("wrote for %v, %v; ConnState of its own was asked: %t", wrote, err, hijacked)
		}
		if err := stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}
