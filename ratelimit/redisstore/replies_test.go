package redisstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/internal/redistest"
	"github.com/sallyport/sallyport/ratelimit/redisstore"
)

// Of the replies that a server could give, only what the script would say is a
// decision. All others are errors, and soon.
func TestOddReplies(t *testing.T) {
	text := func(s string) string {
		return "$" + string(rune('0'+len(s)/10)) + string(rune('0'+len(s)%10)) + "\r\n" + s + "\r\n"
	}
	const hour = "3600000000"
	for name, tt := range map[string]struct {
		reply string
		cut   bool
		want  string
	}{
		"allowed":                        {text("1 " + hour), false, "allowed"},
		"allowed at a fallback":          {text("2 " + hour), false, "allowed"},
		"refused":                        {text("0 10800000000"), false, "refused"},
		"allowed, but nothing is owed":   {text("1 0"), false, ""},
		"allowed, but less is owed":      {text("1 3599999999"), false, ""},
		"allowed, but more than is owed": {text("1 10800000001"), false, ""},
		"refused, but there is enough":   {text("0 " + hour), false, ""},
		"refused, and too much is owed":  {text("0 10800000001"), false, ""},
		"odd":                            {text("x 0"), false, ""},
		"another letter":                 {text("3 " + hour), false, ""},
		"no number":                      {text("1 "), false, ""},
		"no blank":                       {text("1"), false, ""},
		"two blanks":                     {text("1  " + hour), false, ""},
		"a blank at the end":             {text("1 " + hour + " "), false, "allowed"},
		"two answers":                    {text("1 " + hour + " 1 " + hour), false, ""},
		"a negative number in it":        {text("1 -" + hour), false, ""},
		"a fraction in it":               {text("1 3600000000.5"), false, ""},
		"an exponent in it":              {text("1 3.6e+09"), false, ""},
		"17 digits":                      {text("1 00000003600000000"), false, ""},
		"nil":                            {"$-1\r\n", false, ""},
		"nil of a list":                  {"*-1\r\n", false, ""},
		"nil of RESP3":                   {"_\r\n", false, ""},
		"a number":                       {":1\r\n", false, ""},
		"OK":                             {"+OK\r\n", false, ""},
		"an empty text":                  {"$0\r\n\r\n", false, ""},
		"a list":                         {"*2\r\n:1\r\n:3600000000\r\n", false, ""},
		"a list without end":             {"*2000000000\r\n$1\r\n1\r\n", false, ""},
		"a map":                          {"%1\r\n+a\r\n+b\r\n", false, ""},
		"true":                           {"#t\r\n", false, ""},
		"an error":                       {"-ERR no\r\n", false, ""},
		"MOVED":                          {"-MOVED 1 127.0.0.1:1\r\n", false, ""},
		"ASK":                            {"-ASK 1 127.0.0.1:1\r\n", false, ""},
		"NOSCRIPT":                       {"-NOSCRIPT No matching script\r\n", false, ""},
		"LOADING":                        {"-LOADING Redis is loading the dataset in memory\r\n", false, ""},
		"BUSY":                           {"-BUSY Redis is busy running a script\r\n", false, ""},
		"CLUSTERDOWN":                    {"-CLUSTERDOWN The cluster is down\r\n", false, ""},
		"TRYAGAIN":                       {"-TRYAGAIN Multiple keys request during rehashing of slot\r\n", false, ""},
		"MASTERDOWN":                     {"-MASTERDOWN Link with MASTER is down\r\n", false, ""},
		"NOPERM":                         {"-NOPERM this user has no permissions\r\n", false, ""},
		"HTTP":                           {"HTTP/1.1 400 Bad Request\r\n\r\n", true, ""},
		"nothing":                        {"", true, ""},
		"silence":                        {"", false, ""},
		"half a text":                    {"$12\r\n1 36", false, ""},
		"half a text, cut":               {"$12\r\n1 36", true, ""},
		"a text of 10 GB":                {"$10000000000\r\n1 ", false, ""},
		"a text of 8 EB":                 {"$9000000000000000000\r\n1 ", false, ""},
		"a negative length":              {"$-2\r\n", false, ""},
		"a length of letters":            {"$x\r\n", false, ""},
		"an empty line":                  {"\r\n", false, ""},
		"a NUL":                          {"\x00\r\n", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // some wait for the Timeout
			client := single(t, redistest.StartScripted(t, tt.reply, tt.cut), func(o *redis.Options) { o.MinRetryBackoff, o.MaxRetryBackoff = -1, -1 })
			b := bucket(t, redisstore.Config{Client: client, Timeout: 500 * time.Millisecond}, hourly(3))
			res, err := b.Take(t.Context(), "x", 1)
			got := ""
			switch {
			case err == nil && res.Allowed:
				got = "allowed"
			case err == nil:
				got = "refused"
			case !strings.HasPrefix(err.Error(), "redisstore: Take: "):
				t.Errorf("got the text %q", err)
			}
			if got != tt.want {
				t.Errorf("got %+v, %v, want it to be %q", res, err, tt.want)
			}
		})
	}
}

// FuzzReplies has a server reply with any bytes: what is a decision is one that the
// limit could have come to.
func FuzzReplies(f *testing.F) {
	for _, reply := range []string{
		"$12\r\n1 3600000000\r\n", "$13\r\n0 10800000000\r\n", "$3\r\nx 0\r\n", "$-1\r\n", "_\r\n", "*-1\r\n", ":1\r\n", "+OK\r\n", "-ERR no\r\n",
		"-NOSCRIPT x\r\n", "%1\r\n+a\r\n+b\r\n", "=5\r\ntxt:1\r\n",
	} {
		f.Add(reply)
	}
	f.Fuzz(func(t *testing.T, reply string) {
		// The client makes room for the errors and attributes of RESP3 of any size.
		if strings.ContainsAny(reply, "!|") || len(reply) > 1<<10 {
			return
		}
		client := single(t, redistest.StartScripted(t, reply, true), func(o *redis.Options) { o.MaxRetries, o.DialerRetries = -1, 1 })
		b := bucket(t, redisstore.Config{Client: client}, hourly(3))
		res, err := b.Take(t.Context(), "x", 1)
		switch {
		case err != nil:
		case res.Limit != hourly(3) || res.Remaining < 0 || res.Remaining > 2 || res.ResetAfter < 0 || res.ResetAfter > 3*time.Hour,
			res.Allowed && (res.RetryAfter != 0 || res.ResetAfter < time.Hour),
			!res.Allowed && (res.RetryAfter <= 0 || res.Remaining > 0):
			t.Errorf("got %+v", res)
		}
	})
}
