package validate

import (
	"bytes"
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-playground/validator/v10"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/strictjson"
)

// ResponseConfig says what [Response] lets out. The zero ResponseConfig is strict.
type ResponseConfig struct {
	// MaxBytes is the size of the largest response, in bytes, all of which is held in memory.
	// 0 means 1 MiB.
	MaxBytes int64
	// CheckRules also checks the rules of the T's validate tags, and that nothing is missing
	// which they require, as a request's would be. A response that breaks them is a 500, and
	// so is one with null where T has no pointer, as encoding/json sends for a nil slice or map
	// unless the tag of what the handler marshals has omitempty.
	CheckRules bool
	// Setup is called once, at construction, to register the rules that T's tags have beside
	// those of the validator. See [Config.Setup].
	Setup func(*validator.Validate) error
	// Audit gets the events. Nil is the recorder of the errors.Recover above.
	Audit audit.Recorder
}

// Response returns a door that lets out no more of a handler's JSON than a T declares, with
// the zero ResponseConfig unless one is given. Members that the T's json tags don't name are
// taken out of successful responses, at any depth, so that a column which is added to a table
// does not become public by itself (OWASP API3:2023); an excess_data_exposure event
// names where they stood. What is in a map, an any, or a type that marshals itself is the T's
// to say, and stays.
//
// A successful response with a body that is not of the form of a T is a 500 of which nothing
// gets out: another Content-Type than JSON's, a Content-Encoding, malformed JSON, values that
// their type can't hold (an integer that is too large, a time or base64 in another form, an
// array of another length), more than MaxBytes. null is let through. Responses with another
// status than 2xx pass as they are: let errors.Write make them. An error that a handler writes
// after it has begun a successful response ends the connection, as it does elsewhere.
//
// The response is held back until the handler returns, so it can't be a stream; what a handler
// asks of its ResponseController, such as to flush, to hijack or for another deadline, is
// refused with http.ErrNotSupported.
//
// It panics if T or the config can't work: the rules for T are those of [New], with json tags
// alone, and a type that has UnmarshalJSON must have MarshalJSON too; so must one that has
// UnmarshalText, and is no string, have MarshalText.
func Response[T any](cfg ...ResponseConfig) func(http.Handler) http.Handler {
	f, err := newResponseFilter(reflect.TypeFor[T](), cfg)
	if err != nil {
		panic(err.Error())
	}
	return func(next http.Handler) http.Handler {
		if next == nil {
			panic("validate: Response: the handler is nil")
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			held := &heldResponse{ResponseWriter: w, head: r.Method == http.MethodHead, most: f.lim.bytes}
			next.ServeHTTP(held, r)
			f.release(w, r, held)
		})
	}
}

// A responseFilter lets out what a plan declares.
type responseFilter struct {
	plan  *plan
	sent  map[*node]sentAs
	lim   limits
	rules bool
	audit audit.Recorder
}

func newResponseFilter(typ reflect.Type, cfg []ResponseConfig) (*responseFilter, error) {
	if len(cfg) > 1 {
		return nil, errors.New("validate: Response: more than one ResponseConfig")
	}
	var c ResponseConfig
	if len(cfg) == 1 {
		c = cfg[0]
	}
	// The handler is ours: it may send as much as there is room for.
	lim, err := Config{MaxBytes: c.MaxBytes}.limits()
	if err != nil {
		return nil, fmt.Errorf("validate: Response: %w", err)
	}
	lim.hasScope = func(context.Context, string) bool { return true }
	lim.depth, lim.items, lim.values = 1000, math.MaxInt32, math.MaxInt32
	p, err := compile(typ, c.Setup, nil)
	if err != nil {
		return nil, err
	}
	if p.json == nil || len(p.params) > 0 {
		return nil, fmt.Errorf("validate: Response: %s has fields that are not JSON's", typeName(typ))
	}
	sent := make(map[*node]sentAs)
	if err := p.json.filterable(sent); err != nil {
		return nil, fmt.Errorf("validate: Response: %w", err)
	}
	return &responseFilter{plan: p, sent: sent, lim: lim, rules: c.CheckRules, audit: c.Audit}, nil
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// A sentAs is how a value is sent.
type sentAs uint8

const (
	asItsKind   sentAs = iota
	asAString          // by its own MarshalText
	asItPleases        // by its own MarshalJSON
)

// filterable notes how the values of n and below are sent. It returns an error if a type reads
// itself and does not say what it sends: nothing could be taken out of it.
func (n *node) filterable(sent map[*node]sentAs) error {
	if _, seen := sent[n]; n == nil || seen {
		return nil
	}
	sent[n] = asItsKind
	to := reflect.PointerTo(n.typ)
	switch n.kind {
	case timeNode, optionalNode, structNode: // which are looked into
	default:
		if to.Implements(jsonMarshaler) {
			sent[n] = asItPleases
		} else if to.Implements(textMarshaler) || n.kind == textNode {
			sent[n] = asAString
		}
	}
	switch {
	case n.kind == rawNode && sent[n] != asItPleases:
		return fmt.Errorf("%s has UnmarshalJSON and no MarshalJSON, so that what it declares is not known", typeName(n.typ))
	case n.kind == textNode && n.typ.Kind() != reflect.String && sent[n] != asItPleases && !to.Implements(textMarshaler):
		return fmt.Errorf("%s has UnmarshalText and no MarshalText, so that it is not sent as a string", typeName(n.typ))
	}
	if n.object != nil {
		for i := range n.object.fields {
			if err := n.object.fields[i].node.filterable(sent); err != nil {
				return err
			}
		}
	}
	return n.elem.filterable(sent)
}

// release answers with what may be seen of a response.
func (f *responseFilter) release(w http.ResponseWriter, r *http.Request, held *heldResponse) {
	if held.passed {
		return // it is no success, and on its way already
	}
	body, err := f.filter(r, w.Header(), held)
	if err != nil {
		httperr.Write(w, r, err)
		return
	}
	remove(w.Header(), "Content-Length") // of what was not let out
	if len(body) > 0 {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	if held.status != 0 {
		w.WriteHeader(held.status)
	}
	_, _ = w.Write(body) // the client is gone: there is nobody to tell
}

// filter returns what may be seen of the body.
func (f *responseFilter) filter(r *http.Request, h http.Header, held *heldResponse) ([]byte, error) {
	body := held.body.Bytes()
	switch {
	case held.n > f.lim.bytes:
		return nil, fmt.Errorf("validate: Response: the response is larger than %d bytes", f.lim.bytes)
	case held.n == 0 || held.head:
		return nil, nil
	case h.Get("Content-Encoding") != "":
		return nil, errors.New("validate: Response: the response has a Content-Encoding; compress above this door")
	case !isJSON(h["Content-Type"]):
		return nil, errors.New("validate: Response: the Content-Type of the response is not JSON's")
	}
	c, err := strictjson.Read(body, strictjson.Limits{Depth: f.lim.depth, Members: f.lim.items, Items: f.lim.items, Values: f.lim.values, Bytes: len(body)})
	if err != nil {
		return nil, fmt.Errorf("validate: Response: the response is malformed: %w", err)
	}
	s := &sieve{sent: f.sent, out: make([]byte, 0, len(body))}
	if !s.value(&c, f.plan.json) {
		return nil, fmt.Errorf("validate: Response: the response has another type than a %s at %q", typeName(f.plan.typ), s.place())
	}
	if f.rules {
		err := f.plan.guard(r.Context(), &f.lim, func(d *decoder) error {
			v := reflect.New(f.plan.typ).Elem()
			if err := d.document(f.plan.json, s.out, v); err != nil {
				return err
			}
			return f.plan.check(d, r, v)
		})
		if err != nil { // a problem of the service, not of the client
			return nil, fmt.Errorf("validate: Response: the response breaks rules: %v", describeRefusal(err))
		}
	}
	if len(s.dropped) > 0 {
		remove(h, "Etag", "Content-Digest", "Repr-Digest", "Digest", "Content-Md5")
		audit.Record(r, f.audit, audit.Event{
			Name: audit.ExcessDataExposure, Level: slog.LevelWarn, Status: held.status,
			Reason: "the response had members that its type does not declare: " + strings.Join(s.dropped, ", "),
		})
	}
	return s.out, nil
}

// remove deletes fields by their canonical names, however they are spelled: a handler may have
// set one past Header.Set.
func remove(h http.Header, names ...string) {
	for name := range h {
		if slices.Contains(names, http.CanonicalHeaderKey(name)) {
			delete(h, name)
		}
	}
}

// describeRefusal says for the log what a client would be told of a request.
func describeRefusal(err error) string {
	var p *httperr.Problem
	if errors.As(err, &p) && len(p.Fields) > 0 {
		return reason(p.Fields)
	}
	return err.Error()
}

// A sieve copies what a node declares.
type sieve struct {
	sent    map[*node]sentAs
	out     []byte
	path    []string // of pointers to members
	dropped []string // places where something was left out, once each
}

const maxDropped = 5 // places that an event names

func (s *sieve) place() string { return strings.Join(s.path, "") }

func (s *sieve) drop() {
	place := s.place()
	if place == "" {
		place = "/"
	}
	if !slices.Contains(s.dropped, place) && len(s.dropped) < maxDropped {
		s.dropped = append(s.dropped, place)
	}
}

// value copies the value at c, and reports false if it is none of n's.
func (s *sieve) value(c *strictjson.Cursor, n *node) bool {
	for n.kind == pointerNode || n.kind == optionalNode {
		n = n.elem
	}
	kind, sent := c.Kind(), s.sent[n]
	if kind == strictjson.Null || n.kind == anyNode || sent != asItsKind {
		s.out = append(s.out, c.Value().Raw...)
		return kind == strictjson.Null || kind == strictjson.String || sent != asAString
	}
	switch n.kind {
	case structNode:
		return kind == strictjson.Map && s.members(c, n.object)
	case mapNode:
		return kind == strictjson.Map && s.list(c, '{', '}', n)
	case sliceNode, arrayNode:
		return kind == strictjson.Array && s.list(c, '[', ']', n)
	default:
		j := c.Value()
		s.out = append(s.out, j.Raw...)
		return scalar(n, reflect.New(n.typ).Elem(), j)
	}
}

// ownForm reports whether values of n, or what it points to, marshal themselves, whatever the
// options of a tag say.
func (s *sieve) ownForm(n *node) bool {
	if n.kind == pointerNode {
		n = n.elem
	}
	return s.sent[n] != asItsKind
}

// quoted copies a string that holds a value of n.
func (s *sieve) quoted(c *strictjson.Cursor, n *node) bool {
	if n.kind == pointerNode {
		n = n.elem
	}
	j := c.Value()
	s.out = append(s.out, j.Raw...)
	if j.Kind == strictjson.Null {
		return true
	}
	inner, ok := unquote(j)
	return ok && scalar(n, reflect.New(n.typ).Elem(), inner)
}

// list copies the elements of n, which is a map, a slice or an array.
func (s *sieve) list(c *strictjson.Cursor, open, end byte, n *node) bool {
	s.out = append(s.out, open)
	s.path = append(s.path, "/*")
	length := 0
	for more := c.Enter(); more; more = c.More() {
		if length > 0 {
			s.out = append(s.out, ',')
		}
		length++
		if open == '{' {
			s.name(c.Name())
		}
		if !s.value(c, n.elem) {
			return false
		}
	}
	s.path = s.path[:len(s.path)-1]
	s.out = append(s.out, end)
	return n.kind != arrayNode || length == n.typ.Len()
}

func (s *sieve) members(c *strictjson.Cursor, o *object) bool {
	s.out = append(s.out, '{')
	first, next := true, 0
	for more := c.Enter(); more; more = c.More() {
		name := c.Name()
		i := o.find(name, next)
		if i < 0 {
			c.Value()
			s.drop()
			continue
		}
		next = i + 1
		if !first {
			s.out = append(s.out, ',')
		}
		first = false
		s.name(name)
		m := &o.fields[i]
		s.path = append(s.path, m.pointer)
		ok := false
		if m.quoted && !s.ownForm(m.node) {
			ok = s.quoted(c, m.node)
		} else {
			ok = s.value(c, m.node)
		}
		if !ok {
			return false
		}
		s.path = s.path[:len(s.path)-1]
	}
	s.out = append(s.out, '}')
	return true
}

func (s *sieve) name(name strictjson.Name) {
	s.out = append(s.out, '"')
	s.out = append(s.out, name.Raw...)
	s.out = append(s.out, '"', ':')
}

// A heldResponse keeps a successful response back. It has no Unwrap, so that nothing
// gets past it.
type heldResponse struct {
	http.ResponseWriter
	head   bool
	most   int64
	status int
	passed bool // it is no success, and passes
	body   bytes.Buffer
	n      int64 // bytes of the body, kept or not
}

func (h *heldResponse) WriteHeader(status int) {
	switch {
	case status >= 100 && status < 200 && status != http.StatusSwitchingProtocols:
		h.ResponseWriter.WriteHeader(status)
	case h.status != 0: // superfluous
	case status >= 200 && status < 300:
		h.status = status
	default:
		h.status, h.passed = status, true
		h.ResponseWriter.WriteHeader(status)
	}
}

func (h *heldResponse) Write(b []byte) (int, error) {
	if h.passed {
		return h.ResponseWriter.Write(b)
	}
	if h.status == 0 {
		h.status = http.StatusOK
	}
	h.n += int64(len(b))
	if h.n <= h.most && !h.head {
		h.body.Write(b)
	}
	return len(b), nil
}
