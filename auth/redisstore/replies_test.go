package redisstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/redisstore"
	"github.com/sallyport/sallyport/internal/redistest"
)

// Of the replies that a server could give, only the one that says so lets a token
// or a use through.
func TestOddReplies(t *testing.T) {
	const (
		isNil   = "$-1\r\n"
		written = ":1\r\n"
	)
	for name, tt := range map[string]struct {
		reply string
		cut   bool
	}{
		"nil":                   {isNil, false},
		"nil of a list":         {"*-1\r\n", false},
		"nil of RESP3":          {"_\r\n", false},
		"written":               {written, false},
		"zero":                  {":0\r\n", false},
		"a negative number":     {":-1\r\n", false},
		"a huge number":         {":99999999999999999999\r\n", false},
		"OK":                    {"+OK\r\n", false},
		"an empty text":         {"$0\r\n\r\n", false},
		"a text":                {"$5\r\nhello\r\n", false},
		"a text as long as one": {"$26\r\nABCDEFGHIJKLMNOPQRSTUVWXYZ\r\n", false},
		"a list":                {"*1\r\n$1\r\n1\r\n", false},
		"an empty list":         {"*0\r\n", false},
		"a list without end":    {"*2000000000\r\n$1\r\n1\r\n", false},
		"a map":                 {"%1\r\n+a\r\n+b\r\n", false},
		"true":                  {"#t\r\n", false},
		"false":                 {"#f\r\n", false},
		"a fraction":            {",1.0\r\n", false},
		"an error":              {"-ERR no\r\n", false},
		"MOVED":                 {"-MOVED 1 127.0.0.1:1\r\n", false},
		"ASK":                   {"-ASK 1 127.0.0.1:1\r\n", false},
		"LOADING":               {"-LOADING Redis is loading the dataset in memory\r\n", false},
		"READONLY":              {"-READONLY You can't write against a read only replica.\r\n", false},
		"CLUSTERDOWN":           {"-CLUSTERDOWN The cluster is down\r\n", false},
		"NOSCRIPT":              {"-NOSCRIPT No matching script. Please use EVAL.\r\n", false},
		"OOM":                   {"-OOM command not allowed when used memory > 'maxmemory'.\r\n", false},
		"WRONGTYPE":             {"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", false},
		"NOAUTH":                {"-NOAUTH Authentication required.\r\n", false},
		"NOPERM":                {"-NOPERM this user has no permissions\r\n", false},
		"HTTP":                  {"HTTP/1.1 400 Bad Request\r\n\r\n", true},
		"nothing":               {"", true},
		"silence":               {"", false},
		"half a line":           {"$", false},
		"half a line, cut":      {":", true},
		"half a text":           {"$26\r\nABC", false},
		"half a text, cut":      {"$26\r\nABC", true},
		"half a nil, cut":       {"$-1", true},
		"a text of 10 GB":       {"$10000000000\r\nABC", false},
		"a text of 8 EB":        {"$9000000000000000000\r\nABC", false},
		"a negative length":     {"$-2\r\n", false},
		"a length of letters":   {"$x\r\n", false},
		"an empty line":         {"\r\n", false},
		"a NUL":                 {"\x00\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // some wait for the Timeout
			client := single(t, redistest.StartScripted(t, tt.reply, tt.cut), func(o *redis.Options) { o.MinRetryBackoff, o.MaxRetryBackoff = -1, -1 })
			cfg := redisstore.Config{Client: client, Timeout: 500 * time.Millisecond}
			revocations, replays := newRevocations(t, cfg), newReplays(t, cfg)
			none := strings.HasPrefix(name, "nil")

			first, err := replays.Use(t.Context(), "x", inAnHour())
			known := name == "a text as long as one" // as another's use
			if first != none || (err == nil) != (none || known) {
				t.Errorf("Use: got %v, %v, want %v, and an error: %v", first, err, none, !none && !known)
			}
			err = revocations.Revoke(t.Context(), revocationsOf(inAnHour())["token"])
			if (err == nil) != (name == "written") {
				t.Errorf("Revoke: got %v, want no error only for what says that it is written", err)
			}
			revoked, err := revocations.Revoked(t.Context(), auth.TokenInfo{Issuer: issuer, ID: "x"})
			if (!revoked && err == nil) != none {
				t.Errorf("Revoked: got %v, %v, want true or an error, unless it is nil", revoked, err)
			}
		})
	}
}

// FuzzReplies has a server reply with any bytes: nothing but a nil is a first use,
// or a token that is not revoked.
func FuzzReplies(f *testing.F) {
	for _, reply := range []string{
		"$-1\r\n", "_\r\n", "*-1\r\n", ":1\r\n", "+OK\r\n", "$5\r\nhello\r\n", "-ERR no\r\n", "*1\r\n:1\r\n", "#t\r\n", "$26\r\nABC",
		"-MOVED 1 127.0.0.1:1\r\n", "-NOSCRIPT x\r\n", "%1\r\n+a\r\n+b\r\n", ",1.5\r\n", "(12345\r\n", "=5\r\ntxt:1\r\n",
	} {
		f.Add(reply)
	}
	f.Fuzz(func(t *testing.T, reply string) {
		// The client makes room for the errors and attributes of RESP3 of any size.
		if strings.ContainsAny(reply, "!|") || len(reply) > 1<<10 {
			return
		}
		client := single(t, redistest.StartScripted(t, reply, true), func(o *redis.Options) { o.MaxRetries, o.DialerRetries = -1, 1 })
		cfg := redisstore.Config{Client: client, Timeout: patience}
		none := strings.HasPrefix(reply, "$-1\r\n") || strings.HasPrefix(reply, "*-1\r\n") || strings.HasPrefix(reply, "_") && strings.Contains(reply, "\r\n")
		if first, err := newReplays(t, cfg).Use(t.Context(), "x", inAnHour()); first && (!none || err != nil) {
			t.Errorf("Use: got %v, %v", first, err)
		}
		if revoked, err := newRevocations(t, cfg).Revoked(t.Context(), auth.TokenInfo{Issuer: issuer, ID: "x"}); !revoked && err == nil && !none {
			t.Errorf("Revoked: got %v, %v", revoked, err)
		}
		if err := newRevocations(t, cfg).Revoke(t.Context(), revocationsOf(inAnHour())["token"]); err == nil && !strings.Contains(reply, "1\r\n") {
			t.Errorf("Revoke: got no error")
		}
	})
}
