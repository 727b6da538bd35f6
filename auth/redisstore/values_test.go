package redisstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/redisstore"
	"github.com/sallyport/sallyport/internal/redistest"
)

// A key of ours that holds something else than a string is a question that can't be
// answered, and never the answer no.
func TestWrongTypeIsUndecided(t *testing.T) {
	client := single(t, redistest.Start(t).Addr)
	cfg := redisstore.Config{Client: client, Timeout: patience}
	revocations, replays := newRevocations(t, cfg), newReplays(t, cfg)
	for kind, r := range revocationsOf(inAnHour()) {
		client.FlushAll(t.Context())
		if err := revocations.Revoke(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		key := only(t, client)
		client.Del(t.Context(), key)
		client.HSet(t.Context(), key, "a", "b")
		if revoked, err := revocations.Revoked(t.Context(), tokenOf(r)); err == nil {
			t.Errorf("Revoked of a %s that is a hash: got %v, want an error", kind, revoked)
		}
		if err := revocations.Revoke(t.Context(), r); err == nil {
			t.Errorf("Revoke of a %s that is a hash: got no error", kind)
		}
		if got := client.HGet(t.Context(), key, "a").Val(); got != "b" {
			t.Errorf("Revoke of a %s that is a hash replaced it", kind)
		}
		// What is revoked besides is certain.
		all := auth.TokenInfo{Issuer: issuer, ID: "x", SessionID: "x", Subject: "x"}
		other := auth.Revocation{Issuer: issuer, SessionID: "x", Until: inAnHour()}
		if kind == "session" {
			other = auth.Revocation{Issuer: issuer, TokenID: "x", Until: inAnHour()}
		}
		if err := revocations.Revoke(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		if revoked, err := revocations.Revoked(t.Context(), all); !revoked || err != nil {
			t.Errorf("Revoked of a token with a %s that is a hash, and something revoked: got %v, %v, want true", kind, revoked, err)
		}
	}
	client.FlushAll(t.Context())
	if first, err := replays.Use(t.Context(), "x", inAnHour()); !first {
		t.Fatal(err)
	}
	key := only(t, client)
	client.Del(t.Context(), key)
	client.LPush(t.Context(), key, "a")
	if first, err := replays.Use(t.Context(), "x", inAnHour()); first || err == nil {
		t.Errorf("Use of a key that is a list: got %v, %v, want an error", first, err)
	}
}

// A value that the store did not write revokes, or is an error: it never is the
// answer no. Nor does a later revocation make less of it.
func TestUnknownValueIsRevoked(t *testing.T) {
	client := single(t, redistest.Start(t).Addr)
	revocations := newRevocations(t, redisstore.Config{Client: client, Timeout: patience})
	for kind, r := range revocationsOf(inAnHour()) {
		client.FlushAll(t.Context())
		if err := revocations.Revoke(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		key := only(t, client)
		token := tokenOf(r)
		token.IssuedAt = time.Now().AddDate(10, 0, 0) // which no NotBefore of now revokes
		for _, value := range []string{
			"", " ", "x", "true", "nil", "-1", "+1", " 1", "1 ", "1\n", "1.5", "1e3", "0x10", "inf", "nan", "1_000", "\x00",
			"9999999999999999", "99999999999999999999999999", "0000000000000001",
		} {
			client.Set(t.Context(), key, value, time.Hour)
			for _, when := range []string{"before", "after"} {
				if revoked, err := revocations.Revoked(t.Context(), token); !revoked || err != nil {
					t.Errorf("a %s with the value %q, %s it is revoked again: got %v, %v, want true", kind, value, when, revoked, err)
				}
				if err := revocations.Revoke(t.Context(), r); err != nil {
					t.Errorf("Revoke of a %s with the value %q: %v", kind, value, err)
				}
			}
		}
		for _, size := range []int{33, 1 << 10, 10 << 20} {
			client.Set(t.Context(), key, strings.Repeat("1", size), time.Hour)
			if revoked, err := revocations.Revoked(t.Context(), token); !revoked && err == nil {
				t.Errorf("a %s with a value of %d bytes: got %v, %v, want true or an error", kind, size, revoked, err)
			}
			if err := revocations.Revoke(t.Context(), r); err != nil {
				t.Errorf("Revoke of a %s with a value of %d bytes: %v", kind, size, err)
			}
			if got := client.StrLen(t.Context(), key).Val(); got != int64(size) {
				t.Errorf("Revoke replaced a value of %d bytes by one of %d", size, got)
			}
		}
	}
}

func TestUnknownReplayValue(t *testing.T) {
	client := single(t, redistest.Start(t).Addr)
	replays := newReplays(t, redisstore.Config{Client: client, Timeout: patience})
	if first, err := replays.Use(t.Context(), "x", inAnHour()); !first {
		t.Fatal(err)
	}
	key := only(t, client)
	for _, value := range []string{"", "1", "OK", strings.Repeat("A", 25), strings.Repeat("A", 27), strings.Repeat("A", 1<<20)} {
		client.Set(t.Context(), key, value, time.Hour)
		if first, err := replays.Use(t.Context(), "x", inAnHour()); first || err == nil {
			t.Errorf("a value of %d bytes: got %v, %v, want an error", len(value), first, err)
		}
	}
}

// What somebody made to last for ever is not cut off.
func TestRevokeKeepsWhatHasNoEnd(t *testing.T) {
	client := single(t, redistest.Start(t).Addr)
	revocations := newRevocations(t, redisstore.Config{Client: client, Timeout: patience})
	r := revocationsOf(inAnHour())["subject"]
	if err := revocations.Revoke(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	key := only(t, client)
	client.Persist(t.Context(), key)
	r.NotBefore = r.NotBefore.Add(time.Minute)
	if err := revocations.Revoke(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if left := client.PTTL(t.Context(), key).Val(); left != -1 {
		t.Errorf("it ends in %v, want never", left)
	}
	token := tokenOf(r)
	token.IssuedAt = r.NotBefore.Add(-time.Second)
	if revoked, err := revocations.Revoked(t.Context(), token); !revoked || err != nil {
		t.Errorf("the later time: got %v, %v, want true", revoked, err)
	}
}

// Times that don't fit must not wrap around.
func TestExtremeTimes(t *testing.T) {
	client := single(t, redistest.Start(t).Addr)
	cfg := redisstore.Config{Client: client, Timeout: patience}
	revocations, replays := newRevocations(t, cfg), newReplays(t, cfg)
	for name, far := range map[string]time.Time{
		"in 300 years":     time.Now().AddDate(300, 0, 0),
		"in 10000":         time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
		"in 40000":         time.Date(40000, 1, 1, 0, 0, 0, 0, time.UTC),
		"after all things": time.Unix(1<<62, 0),
	} {
		client.FlushAll(t.Context())
		r := auth.Revocation{Issuer: issuer, Subject: "x", NotBefore: far, Until: far}
		if err := revocations.Revoke(t.Context(), r); err != nil {
			t.Errorf("Revoke until %s: %v", name, err)
		}
		if revoked, err := revocations.Revoked(t.Context(), auth.TokenInfo{Issuer: issuer, Subject: "x", IssuedAt: time.Now()}); !revoked || err != nil {
			t.Errorf("Revoked until %s: got %v, %v, want true", name, revoked, err)
		}
		for i, want := range []bool{true, false} {
			if first, err := replays.Use(t.Context(), "x", far); first != want || err != nil {
				t.Errorf("use %d until %s: got %v, %v, want %v", i, name, first, err, want)
			}
		}
	}
	// A time before 1970 revokes what has no time, and no more.
	client.FlushAll(t.Context())
	r := auth.Revocation{Issuer: issuer, Subject: "x", NotBefore: time.Unix(-1<<40, 0), Until: inAnHour()}
	if err := revocations.Revoke(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	for issued, want := range map[time.Time]bool{{}: true, time.Unix(0, 0): false, time.Now(): false} {
		if revoked, err := revocations.Revoked(t.Context(), auth.TokenInfo{Issuer: issuer, Subject: "x", IssuedAt: issued}); revoked != want || err != nil {
			t.Errorf("issued %v: got %v, %v, want %v", issued, revoked, err, want)
		}
	}
}

// revocationsOf returns one of each kind, for tokens that were issued before now.
func revocationsOf(until time.Time) map[string]auth.Revocation {
	return map[string]auth.Revocation{
		"token":   {Issuer: issuer, TokenID: "x", Until: until},
		"session": {Issuer: issuer, SessionID: "x", Until: until},
		"subject": {Issuer: issuer, Subject: "x", NotBefore: time.Now(), Until: until},
	}
}

// tokenOf returns a token that only r could revoke.
func tokenOf(r auth.Revocation) auth.TokenInfo {
	return auth.TokenInfo{Issuer: r.Issuer, ID: r.TokenID, SessionID: r.SessionID, Subject: r.Subject}
}
