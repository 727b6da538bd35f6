package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/internal/conformance"
)

// An OpenRevocations function returns a new store that holds nothing. It may use
// t.Cleanup to remove it, and must be able to make several for one test.
type OpenRevocations = func(t *testing.T) auth.Revocations

// RunRevocations checks the stores that open returns, with one subtest for each
// rule. It takes more than a second, since a store has a clock of its own.
func RunRevocations(t *testing.T, open OpenRevocations) { run(t, revocationRules, open) }

var revocationRules = []rule[OpenRevocations]{
	{"nothing", "a new store revokes no token", func(t *testing.T, open OpenRevocations) {
		s := open(t)
		for name, token := range map[string]auth.TokenInfo{"full": token("1"), "empty": {}, "anonymous": {Issuer: issuer}} {
			asked(t, s, token, false, "a token that is "+name)
		}
	}},
	{"token", "a revoked token is refused from the moment when Revoke returns, and no other", func(t *testing.T, open OpenRevocations) {
		s := open(t)
		one, other := token("1"), token("1")
		other.ID = "token 2"
		revoke(t, s, auth.Revocation{Issuer: issuer, TokenID: one.ID})
		asked(t, s, one, true, "the token")
		asked(t, s, auth.TokenInfo{Issuer: issuer, ID: one.ID}, true, "the token without session and subject")
		asked(t, s, other, false, "another token of the session and the subject")
		revoke(t, s, auth.Revocation{Issuer: issuer, TokenID: other.ID})
		asked(t, s, one, true, "the token, after another")
		asked(t, s, other, true, "the other token")
	}},
	{"session", "all tokens of a revoked session are refused, and no others of its subject", func(t *testing.T, open OpenRevocations) {
		s := open(t)
		one, other := token("1"), token("1")
		other.SessionID = "session 2"
		revoke(t, s, auth.Revocation{Issuer: issuer, SessionID: one.SessionID})
		asked(t, s, one, true, "a token of the session")
		asked(t, s, auth.TokenInfo{Issuer: issuer, SessionID: one.SessionID}, true, "a token of the session without id and subject")
		one.ID, one.IssuedAt = "token 2", one.IssuedAt.Add(time.Hour)
		asked(t, s, one, true, "a later token of the session")
		asked(t, s, other, false, "a token of another session")
	}},
	{"subject", "a subject's tokens are refused that were issued before the time, or don't say when", func(t *testing.T, open OpenRevocations) {
		s := open(t)
		one := token("1")
		at := one.IssuedAt
		revoke(t, s, auth.Revocation{Issuer: issuer, Subject: one.Subject, NotBefore: at})
		for name, tt := range map[string]struct {
			issued  time.Time
			revoked bool
		}{
			"a second before": {at.Add(-time.Second), true},
			"a year before":   {at.AddDate(-1, 0, 0), true},
			"in 1970":         {time.Unix(0, 0), true},
			"unknown":         {time.Time{}, true},
			"then":            {at, false},
			"a second after":  {at.Add(time.Second), false},
			"a year after":    {at.AddDate(1, 0, 0), false},
		} {
			one.IssuedAt = tt.issued
			asked(t, s, one, tt.revoked, "a token issued "+name)
			asked(t, s, auth.TokenInfo{Issuer: issuer, Subject: one.Subject, IssuedAt: tt.issued}, tt.revoked, "one without id and session issued "+name)
		}
		asked(t, s, token("2"), false, "a token of another subject")
	}},
	{"same second", `"iat" is in whole seconds: a token of the second in which its subject was revoked is refused`, func(t *testing.T, open OpenRevocations) {
		s := open(t)
		one := token("1")
		at := one.IssuedAt
		revoke(t, s, auth.Revocation{Issuer: issuer, Subject: one.Subject, NotBefore: at.Add(500 * time.Millisecond)})
		asked(t, s, one, true, "a token of the same second")
		one.IssuedAt = at.Add(time.Second)
		asked(t, s, one, false, "a token of the next second")
		one = token("2")
		revoke(t, s, auth.Revocation{Issuer: issuer, Subject: one.Subject, NotBefore: at.Add(time.Nanosecond)})
		asked(t, s, one, true, "a token whose iat is a nanosecond before NotBefore")
		one.IssuedAt = at.Add(2 * time.Millisecond)
		asked(t, s, one, false, "a token whose iat is two milliseconds after NotBefore")
	}},
	{"latest time", "no revocation of a subject makes less of another, whatever the order they come in", func(t *testing.T, open OpenRevocations) {
		at := token("").IssuedAt
		early, late := time.Unix(9_999, 0), time.Unix(10_001, 0) // of which the later comes first in the alphabet
		for name, order := range map[string][]time.Time{
			"later":         {at, at.Add(time.Hour)},
			"earlier":       {at.Add(time.Hour), at},
			"in the middle": {at, at.Add(time.Hour), at.Add(time.Minute)},
			"twice":         {at.Add(time.Hour), at.Add(time.Hour)},
			"by a second":   {at.Add(time.Hour), at.Add(time.Hour - time.Second)},
			"more digits":   {early, late},
			"fewer digits":  {late, early},
			"before 1970":   {late, time.Unix(-20_000, 0)},
		} {
			s, one := open(t), token("1")
			latest := order[0]
			for _, notBefore := range order {
				revoke(t, s, auth.Revocation{Issuer: issuer, Subject: one.Subject, NotBefore: notBefore})
				if notBefore.After(latest) {
					latest = notBefore
				}
			}
			one.IssuedAt = latest.Add(-time.Second)
			asked(t, s, one, true, name+": a token of just before the latest time")
			one.IssuedAt = latest
			asked(t, s, one, false, name+": a token of the latest time")
		}
	}},
	{"any of them", "a token is refused if its id, its session or its subject is revoked, whatever the others are", func(t *testing.T, open OpenRevocations) {
		one := token("1")
		for name, r := range revocationsOf(one) {
			s := open(t)
			revoke(t, s, r)
			for _, other := range revocationsOf(token("2")) {
				revoke(t, s, other)
			}
			asked(t, s, one, true, "a token of a revoked "+name)
			asked(t, s, token("3"), false, "a token that has nothing revoked")
		}
	}},
	{"empty fields", "what is not in a token can't be revoked: it must match nothing", func(t *testing.T, open OpenRevocations) {
		s := open(t)
		for _, r := range revocationsOf(token("1")) {
			revoke(t, s, r)
		}
		asked(t, s, auth.TokenInfo{}, false, "an empty token")
		asked(t, s, auth.TokenInfo{Issuer: issuer}, false, "a token with an issuer alone")
		asked(t, s, auth.TokenInfo{Issuer: issuer, ID: "token 2"}, false, "a token without session and subject")
		without := token("1")
		without.Issuer = ""
		asked(t, s, without, false, "a token without issuer")
	}},
	{"kinds are apart", "a token, a session and a subject may have one name, and are not one", func(t *testing.T, open OpenRevocations) {
		same := auth.TokenInfo{Issuer: issuer, ID: "x", SessionID: "x", Subject: "x"}
		for name, r := range revocationsOf(same) {
			s := open(t)
			revoke(t, s, r)
			asked(t, s, auth.TokenInfo{Issuer: issuer, ID: "x"}, name == "token", "a token of the same name as a revoked "+name)
			asked(t, s, auth.TokenInfo{Issuer: issuer, SessionID: "x"}, name == "session", "a session of the same name as a revoked "+name)
			asked(t, s, auth.TokenInfo{Issuer: issuer, Subject: "x"}, name == "subject", "a subject of the same name as a revoked "+name)
		}
	}},
	{"issuers are apart", "another issuer may give the same names, and can't revoke by them", func(t *testing.T, open OpenRevocations) {
		s := open(t)
		one := auth.TokenInfo{Issuer: "https://a.example", ID: "/1/2", SessionID: "/1/2", Subject: "/1/2"}
		for _, r := range revocationsOf(one) {
			revoke(t, s, r)
		}
		asked(t, s, one, true, "the token")
		for _, other := range []auth.TokenInfo{
			{Issuer: "https://b.example", ID: "/1/2", SessionID: "/1/2", Subject: "/1/2"},
			{Issuer: "https://A.example", ID: "/1/2", SessionID: "/1/2", Subject: "/1/2"},
			{Issuer: "https://a.example/", ID: "/1/2", SessionID: "/1/2", Subject: "/1/2"},
			{Issuer: "https://a.example/1", ID: "/2", SessionID: "/2", Subject: "/2"},
			{Issuer: "https://a.example/1/2", ID: "x"},
			{Issuer: "https://a.exampl", ID: "e/1/2", SessionID: "e/1/2", Subject: "e/1/2"},
		} {
			asked(t, s, other, false, "a token of "+other.Issuer)
		}
	}},
	{"names are bytes", "a name is what a stranger chose: it must mean itself alone (ASVS 1.2.4)", func(t *testing.T, open OpenRevocations) {
		s := open(t)
		names := hostile()
		long := names[len(names)-1]
		for _, name := range append(names, long+"a", long+"b") {
			for kind, r := range revocationsOf(auth.TokenInfo{Issuer: issuer, ID: name, SessionID: name, Subject: name}) {
				one := auth.TokenInfo{Issuer: issuer, ID: r.TokenID, SessionID: r.SessionID, Subject: r.Subject}
				asked(t, s, one, false, "before it is revoked, the "+kind+" "+name)
				revoke(t, s, r)
				asked(t, s, one, true, "when it is revoked, the "+kind+" "+name)
			}
			asked(t, s, auth.TokenInfo{Issuer: name, ID: "a", SessionID: "a", Subject: "a"}, false, "a token of the issuer "+name)
		}
		for _, name := range names {
			asked(t, s, auth.TokenInfo{Issuer: issuer, ID: name}, true, "after all, the token "+name)
		}
	}},
	{"refused", "a revocation that does not pass Check is a mistake, and must not look like one that was done", func(t *testing.T, open OpenRevocations) {
		until, at := inAnHour(), token("").IssuedAt
		for name, r := range map[string]auth.Revocation{
			"empty":                   {},
			"without issuer":          {TokenID: "x", Until: until},
			"without name":            {Issuer: issuer, Until: until},
			"of a token and session":  {Issuer: issuer, TokenID: "x", SessionID: "x", Until: until},
			"of a token and subject":  {Issuer: issuer, TokenID: "x", Subject: "x", NotBefore: at, Until: until},
			"of a subject of no time": {Issuer: issuer, Subject: "x", Until: until},
			"of a token of some time": {Issuer: issuer, TokenID: "x", NotBefore: at, Until: until},
			"without end":             {Issuer: issuer, TokenID: "x"},
		} {
			s := open(t)
			conformance.Holds(t, s.Revoke(t.Context(), r) != nil, "a revocation %s: got no error", name)
			asked(t, s, auth.TokenInfo{Issuer: issuer, ID: "x", SessionID: "x", Subject: "x"}, false, "a token after a revocation "+name)
		}
	}},
	{"until", "a revocation counts until the last such token has expired, and no shorter one cuts it off", func(t *testing.T, open OpenRevocations) {
		s := open(t)
		long, short := token("1"), token("2")
		until := time.Now().Add(1200 * time.Millisecond) // and not one second, when it is rounded down
		for name, r := range revocationsOf(short) {
			r.Until = until
			conformance.Need(t, "Revoke of the "+name, s.Revoke(t.Context(), r))
		}
		for name, r := range revocationsOf(long) {
			revoke(t, s, r)
			for _, shorter := range []time.Time{time.Now().Add(50 * time.Millisecond), time.Now().Add(-time.Hour)} {
				r.Until = shorter
				conformance.Need(t, "Revoke of the "+name+" again", s.Revoke(t.Context(), r))
			}
		}
		time.Sleep(time.Until(until) - 150*time.Millisecond)
		for name, one := range partsOf(short) {
			revoked, err := s.Revoked(t.Context(), one)
			if time.Now().Before(until) {
				conformance.Holds(t, revoked && err == nil, "before its end, the %s: got %v, %v, want true", name, revoked, err)
			}
		}
		for name, one := range partsOf(long) {
			asked(t, s, one, true, "after a revocation that ends earlier, the "+name)
		}
	}},
	{"far end", "tokens that never expire are revoked for good", func(t *testing.T, open OpenRevocations) {
		s := open(t)
		one := token("1")
		for name, r := range revocationsOf(one) {
			r.Until = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
			conformance.Need(t, "Revoke of the "+name, s.Revoke(t.Context(), r))
		}
		for name, one := range partsOf(one) {
			asked(t, s, one, true, "until the year 9999, the "+name)
		}
	}},
	{"cancelled", "a question that was given up has no answer", func(t *testing.T, open OpenRevocations) {
		s := open(t)
		one := token("1")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for name, r := range revocationsOf(one) {
			conformance.Holds(t, s.Revoke(ctx, r) != nil, "Revoke of a %s with a cancelled context: got no error", name)
		}
		_, err := s.Revoked(ctx, one)
		conformance.Holds(t, err != nil, "Revoked with a cancelled context: got no error")
		ctx, cancel = context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		_, err = s.Revoked(ctx, one)
		conformance.Holds(t, err != nil, "Revoked after the deadline: got no error")
	}},
	{"concurrent", "a store is safe for concurrent use, and no answer gets to another question", func(t *testing.T, open OpenRevocations) {
		s := open(t)
		names := []string{"1", "2", "3", "4", "5", "6"}
		conformance.Together(24, func(i int) {
			one, never := token(names[i%len(names)]), token("never")
			for range 5 {
				for _, r := range revocationsOf(one) {
					conformance.Holds(t, s.Revoke(t.Context(), r) == nil, "Revoke: got an error")
					asked(t, s, auth.TokenInfo{Issuer: issuer, ID: r.TokenID, SessionID: r.SessionID, Subject: r.Subject}, true, "a token that is revoked")
				}
				asked(t, s, one, true, "a token that is revoked")
				asked(t, s, never, false, "a token that is not revoked")
			}
		})
	}},
	{"latest time concurrently", "of several revocations of one subject at once the latest time counts, in one atomic step", func(t *testing.T, open OpenRevocations) {
		const n = 32
		s, one := open(t), token("1")
		for round := range 8 {
			at := one.IssuedAt.AddDate(0, round, 0)
			conformance.Together(n, func(i int) {
				notBefore := at.Add(time.Duration(i*7%n) * time.Second)
				err := s.Revoke(t.Context(), auth.Revocation{Issuer: issuer, Subject: one.Subject, NotBefore: notBefore, Until: inAnHour()})
				conformance.Holds(t, err == nil, "Revoke: got %v", err)
			})
			last := one
			last.IssuedAt = at.Add((n - 2) * time.Second)
			asked(t, s, last, true, "a token of just before the latest time")
			last.IssuedAt = at.Add((n - 1) * time.Second)
			asked(t, s, last, false, "a token of the latest time")
		}
	}},
}

const issuer = "https://issuer.example"

func inAnHour() time.Time { return time.Now().Add(time.Hour) }

// token returns a token with something in every field.
func token(name string) auth.TokenInfo {
	return auth.TokenInfo{
		Issuer: issuer, ID: "token " + name, SessionID: "session " + name, Subject: "subject " + name,
		IssuedAt: time.Date(2026, 2, 1, 12, 0, 0, 0, time.UTC),
	}
}

// revocationsOf returns what revokes t, for an hour.
func revocationsOf(t auth.TokenInfo) map[string]auth.Revocation {
	until := inAnHour()
	return map[string]auth.Revocation{
		"token":   {Issuer: t.Issuer, TokenID: t.ID, Until: until},
		"session": {Issuer: t.Issuer, SessionID: t.SessionID, Until: until},
		"subject": {Issuer: t.Issuer, Subject: t.Subject, NotBefore: t.IssuedAt.Add(time.Second), Until: until},
	}
}

// partsOf returns tokens that have one of t's names each.
func partsOf(t auth.TokenInfo) map[string]auth.TokenInfo {
	return map[string]auth.TokenInfo{
		"token":   {Issuer: t.Issuer, ID: t.ID},
		"session": {Issuer: t.Issuer, SessionID: t.SessionID},
		"subject": {Issuer: t.Issuer, Subject: t.Subject, IssuedAt: t.IssuedAt},
	}
}

// revoke revokes r, for an hour if it has no end.
func revoke(t *testing.T, s auth.Revocations, r auth.Revocation) {
	t.Helper()
	if r.Until.IsZero() {
		r.Until = inAnHour()
	}
	conformance.Need(t, "Revoke", s.Revoke(t.Context(), r))
}

// asked checks the answer of s. It may be called from any goroutine.
func asked(t *testing.T, s auth.Revocations, token auth.TokenInfo, want bool, what string) {
	t.Helper()
	got, err := s.Revoked(t.Context(), token)
	conformance.Holds(t, err == nil && got == want, "%.80q: got %v, %v, want %v", what, got, err, want)
}
