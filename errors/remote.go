package errors

import (
	stderrors "errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/sallyport/sallyport/internal/logtext"
	"github.com/sallyport/sallyport/internal/retryafter"
	"github.com/sallyport/sallyport/internal/strictjson"
)

// A RemoteProblem is what another service has answered to a request of ours, in the form of
// RFC 9457 if it has that. It is for decisions and for the log. It is no [Problem], so a
// handler that returns it answers a bare 500: what was meant for this service is not shown
// to its clients.
type RemoteProblem struct {
	// Status is that of the answer, whatever the document says.
	Status int
	// Type is the URI reference of the kind of problem, "about:blank" if none is given.
	Type string
	// Title, Detail, Instance and Code are members of the document; each is empty if it is
	// missing or no string. Code and the ids are those that this package writes.
	Title, Detail, Instance, Code string
	RequestID, ErrorID            string
	// Fields are the parts of the request that were wrong.
	Fields []Field
	// Extensions are the other members, as encoding/json decodes them into an any; numbers are
	// json.Number.
	Extensions map[string]any
	// RetryAfter is how long the answer says to wait, however long: bound it before you wait. 0
	// if it does not.
	RetryAfter time.Duration
}

const (
	mostRemote   = 64 << 10 // bytes of a document
	mostRemoteIn = 512      // bytes of a member in the text of an error
)

// Error returns the status, code, title and detail. They are what the other service chose,
// without control characters and cut.
func (p *RemoteProblem) Error() string {
	s := "httperr: the answer was " + strconv.Itoa(p.Status)
	for _, part := range []string{p.Code, p.Title, p.Detail} {
		if part != "" {
			s += ": " + logtext.Clean(part, mostRemoteIn)
		}
	}
	return s
}

// FromResponse returns nil for an answer with a status below 400, and leaves it alone.
// Otherwise it reads the body, up to 64 KiB, and closes it, and returns an error that is a
// *RemoteProblem; with errors.As it can be had from what wraps it.
//
// A body of another type is read only if it says that it is no longer than that, so that the
// connection can be used again. Of it, of a longer document, and of one that is no JSON object in
// which each name stands once, nothing is taken: the problem has its Status and RetryAfter then.
// Members of another type than RFC 9457 says are taken for missing, as its section 3.1 says. No
// URI in it is ever fetched.
func FromResponse(resp *http.Response) error {
	switch {
	case resp == nil:
		return stderrors.New("httperr: FromResponse: there is no answer")
	case resp.StatusCode < 400:
		return nil
	}
	p := &RemoteProblem{Status: resp.StatusCode, Type: "about:blank"}
	p.RetryAfter, _ = retryafter.Parse(resp.Header)
	if resp.Body == nil {
		return p
	}
	defer func() { _ = resp.Body.Close() }()
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	problem := err == nil && media == "application/problem+json"
	if !problem && (resp.ContentLength < 0 || resp.ContentLength > mostRemote) {
		return p // who knows how long it takes
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostRemote+1))
	if problem && err == nil && len(body) <= mostRemote {
		p.read(body)
	}
	return p
}

// read takes the members of a document.
func (p *RemoteProblem) read(body []byte) {
	var members strictjson.Members
	if members.Read(body, strictjson.Limits{Bytes: mostRemote}) != nil {
		return
	}
	for i := range members.Len() {
		name, v := string(members.Name(i)), members.Value(i)
		text := p.member(name)
		switch {
		case text != nil:
			if s, err := v.Text(); err == nil && (s != "" || name != "type") {
				*text = s
			}
		case name == "errors":
			p.Fields = remoteFields(v)
		case name != "status":
			if value, err := v.Any(); err == nil {
				if p.Extensions == nil {
					p.Extensions = make(map[string]any)
				}
				p.Extensions[name] = value
			}
		}
	}
}

// member returns where a member of a name belongs that is a string, or nil.
func (p *RemoteProblem) member(name string) *string {
	switch name {
	case "type":
		return &p.Type
	case "title":
		return &p.Title
	case "detail":
		return &p.Detail
	case "instance":
		return &p.Instance
	case "code":
		return &p.Code
	case "request_id":
		return &p.RequestID
	case "error_id":
		return &p.ErrorID
	}
	return nil
}

// remoteFields returns the elements of an array that are objects.
func remoteFields(v strictjson.Value) (fields []Field) {
	list, err := v.Any()
	if err != nil {
		return nil
	}
	elements, _ := list.([]any)
	for _, element := range elements {
		if m, ok := element.(map[string]any); ok {
			var f Field
			f.Pointer, _ = m["pointer"].(string)
			f.Location, _ = m["location"].(string)
			f.Code, _ = m["code"].(string)
			f.Detail, _ = m["detail"].(string)
			fields = append(fields, f)
		}
	}
	return fields
}
