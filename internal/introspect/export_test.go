package introspect

import (
	"net/http"
	"reflect"
	"unsafe"
)

// ReadAnswer is how an answer is read.
func ReadAnswer(body []byte) (Answer, error) { return readAnswer(body) }

// Key is what an answer is kept under.
func Key(endpoint, issuer string, audience []string, caller, token string) [32]byte {
	p := prefix(endpoint, issuer, audience, caller)
	return newKey(&p, token)
}

// Remembered returns how many tokens are remembered, active or not, and the bytes
// that are accounted for them.
func Remembered(c *Client) (active, inactive int, bytes int64) {
	for i, one := range []*cache{c.active, c.inactive} {
		one.mu.RLock()
		*[]*int{&active, &inactive}[i] = len(one.entries)
		bytes += one.bytes
		one.mu.RUnlock()
	}
	return active, inactive, bytes
}

// Leftover returns how many requests are under way or wait, and how many places are
// taken.
func Leftover(c *Client) (flights, slots int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.flights), len(c.slots)
}

// EntryBytes is the size of what is kept of a token beside its claims, without the
// map's share.
func EntryBytes() int64 { return int64(unsafe.Sizeof(entry{})) + int64(reflect.TypeFor[key]().Size()) }

// EntryOverhead is what is accounted for it.
const EntryOverhead = entryOverhead

// Transport is what is used without Config.HTTPClient.
func Transport(concurrent int) http.RoundTripper { return transport(concurrent) }
