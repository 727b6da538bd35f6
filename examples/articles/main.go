// Articles is an API whose requests and responses are one struct each, with all that comes
// of their tags: JSON, merge patches, uploads, streams, a schema, documented problems, and a
// page that runs no script but its own.
//
//	go run ./examples/articles
//
// It prints a key that writes, and commands to try. Articles are kept in memory.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/sallyport/sallyport"
	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/apikey"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/ratelimit"
	"github.com/sallyport/sallyport/transport"
	"github.com/sallyport/sallyport/validate"
)

func main() {
	addr := flag.String("addr", "localhost:8443", "the address to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addr string) error {
	key, record, err := apikey.Mint(apikey.MintConfig{Subject: "editor", Name: "the first key", Lifetime: 24 * time.Hour})
	if err != nil {
		return err
	}
	keys, err := apikey.NewMemoryStore(record)
	if err != nil {
		return err
	}
	h, err := newHandler("https://"+addr, keys)
	if err != nil {
		return err
	}
	cert, err := transport.SelfSigned("localhost")
	if err != nil {
		return err
	}
	srv, err := transport.NewServer(addr, h, transport.ServerConfig{Certificates: []tls.Certificate{cert}})
	if err != nil {
		return err
	}
	fmt.Printf(`export KEY=%s
curl -k https://%[2]s/articles -H "X-API-Key: $KEY" --json '{"slug":"gates","title":"Of gates","note":"for us alone"}'
curl -k -X PATCH https://%[2]s/articles/gates -H "X-API-Key: $KEY" -H 'Content-Type: application/merge-patch+json' -d '{"summary":"They open.","note":null}'
echo iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg== | base64 -d |
	curl -k -X PUT https://%[2]s/articles/gates/picture -H "X-API-Key: $KEY" -F 'picture=@-;filename=gates.png'
curl -k https://%[2]s/articles/gates
curl -k https://%[2]s/schema
`, key, addr)
	return transport.Run(ctx, srv)
}

// An article is what is stored.
type article struct {
	Slug, Title, Summary, Note string
	Language                   string
	Picture                    []byte
	PictureType                string
}

// newArticle is what a client may say of a new one.
type newArticle struct {
	Slug     string `json:"slug" validate:"required,max=40,hostname_rfc1123"`
	Title    string `json:"title" validate:"required,max=120"`
	Summary  string `json:"summary" validate:"max=500"`
	Note     string `json:"note" validate:"max=500"`
	Language string `json:"language" default:"en" validate:"oneof=en de fr"`
}

// change is what may be changed: what is left out stays, and a null takes away.
type change struct {
	Slug    string                     `path:"slug"`
	Title   validate.Optional[string]  `json:"title" validate:"omitempty,min=1,max=120"`
	Summary validate.Optional[*string] `json:"summary" validate:"omitempty,max=500"`
	Note    validate.Optional[*string] `json:"note" validate:"omitempty,max=500"`
}

// picture is one of up to 5 MiB, most of which is on the disk while it comes.
type picture struct {
	Slug    string        `path:"slug"`
	Picture validate.File `form:"picture" file:"types=image/png image/jpeg,max=5MiB" validate:"required"`
}

// shown is what readers see: a Note is none of it, whatever a handler sends.
type shown struct {
	Slug     string `json:"slug"`
	Title    string `json:"title"`
	Summary  string `json:"summary"`
	Language string `json:"language"`
}

// newHandler puts the doors around the routes.
func newHandler(origin string, keys apikey.Store) (http.Handler, error) {
	door, err := apikey.New(apikey.Config{Store: keys})
	if err != nil {
		return nil, err
	}
	limiter, err := ratelimit.New(ratelimit.Config{Limits: []ratelimit.Limit{ratelimit.PerSecond(20)}})
	if err != nil {
		return nil, err
	}
	problems, err := httperr.NewRegistry(origin+"/problems/", append(httperr.ProblemTypes(),
		httperr.ProblemType{Code: "slug_taken", Title: "The slug is taken", Status: http.StatusConflict, Description: "Choose another slug, or change the article that has it."},
		httperr.ProblemType{Code: "too_many_refused", Title: "Too many lines are refused", Status: http.StatusUnprocessableEntity, Description: "Mend the lines and send them again."},
	)...)
	if err != nil {
		return nil, err
	}
	schema, err := validate.Schema[newArticle]()
	if err != nil {
		return nil, err
	}
	a := &articles{bySlug: make(map[string]article)}
	created, err := validate.New[newArticle](validate.Config{})
	if err != nil {
		return nil, err
	}
	a.items = created.With(a.slugIsFree)

	write := auth.Require(door)
	mux := http.NewServeMux()
	mux.Handle("POST /articles", sallyport.Chain(write, a.items.Wrap)(httperr.Handler(a.create)))
	mux.Handle("POST /articles/import", sallyport.Chain(write, transport.Timeout(transport.Timeouts{Read: 2 * time.Minute}))(httperr.Handler(a.load)))
	mux.Handle("PATCH /articles/{slug}", sallyport.Chain(write, validate.Body[change]())(httperr.Handler(a.change)))
	mux.Handle("PUT /articles/{slug}/picture", sallyport.Chain(write, validate.Body[picture](validate.Config{MaxBytes: 6 << 20}))(httperr.Handler(a.picture)))
	mux.Handle("GET /articles/{slug}", validate.Response[shown]()(httperr.Handler(a.show)))
	mux.HandleFunc("GET /schema", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/schema+json")
		_, _ = w.Write(schema)
	})
	mux.Handle("GET /problems/", problems)
	mux.Handle("POST /reports", transport.CSPReports())
	mux.Handle("GET /{$}", transport.Page(transport.CSP{Nonce: true, ConnectSrc: []string{"'self'"}, ReportTo: "/reports"})(httperr.Handler(page)))
	return sallyport.Chain(
		httperr.Recover(httperr.Config{Types: problems, TraceContext: true}),
		transport.Secure(transport.Headers{}),
		transport.StrictPath(transport.PathRules{}),
		transport.CSRF(),
		limiter.Wrap,
		transport.MaxBody(64<<20),
	)(httperr.Mux(mux)), nil
}

type articles struct {
	items *validate.Validator[newArticle]

	mu     sync.Mutex
	bySlug map[string]article
}

// slugIsFree is a look, and no lock: add has the last word.
func (a *articles) slugIsFree(_ context.Context, n *newArticle) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, taken := a.bySlug[n.Slug]; taken {
		return errSlugTaken
	}
	return nil
}

var errSlugTaken = httperr.New(http.StatusConflict, "slug_taken", "There is an article with this slug.")

func (a *articles) add(n newArticle) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, taken := a.bySlug[n.Slug]; taken {
		return errSlugTaken
	}
	a.bySlug[n.Slug] = article{Slug: n.Slug, Title: n.Title, Summary: n.Summary, Note: n.Note, Language: n.Language}
	return nil
}

// update changes an article, if there is one.
func (a *articles) update(slug string, f func(*article)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	found, ok := a.bySlug[slug]
	if !ok {
		return httperr.New(http.StatusNotFound, "not_found", "There is no such article.")
	}
	f(&found)
	a.bySlug[slug] = found
	return nil
}

func (a *articles) create(w http.ResponseWriter, r *http.Request) error {
	n := validate.MustFrom[newArticle](r.Context())
	if err := a.add(n); err != nil {
		return err
	}
	w.Header().Set("Location", "/articles/"+n.Slug)
	w.WriteHeader(http.StatusCreated)
	return nil
}

// load takes an article on each line, and tells which, from 0, were not taken.
func (a *articles) load(w http.ResponseWriter, r *http.Request) error {
	type refused struct {
		Item   int             `json:"item"`
		Code   string          `json:"code"`
		Errors []httperr.Field `json:"errors,omitempty"`
	}
	result := struct {
		Taken   int       `json:"taken"`
		Refused []refused `json:"refused"`
	}{Refused: []refused{}}
	item := -1
	for n, err := range a.items.Items(w, r) {
		if _, ok := validate.ItemOf(err); err != nil && !ok { // all of the body is wrong, or we are
			return err
		}
		item++
		if err == nil {
			err = a.add(n)
		}
		if err == nil {
			result.Taken++
			continue
		}
		var p *httperr.Problem
		if !errors.As(err, &p) {
			return err
		}
		if len(result.Refused) == 100 {
			return httperr.New(http.StatusUnprocessableEntity, "too_many_refused", "Too many lines are refused; those before them were taken.")
		}
		result.Refused = append(result.Refused, refused{item, p.Code, p.Fields})
	}
	return answer(w, http.StatusOK, result)
}

func (a *articles) change(w http.ResponseWriter, r *http.Request) error {
	c := validate.MustFrom[change](r.Context())
	text := func(o validate.Optional[*string], to *string) {
		switch s, sent := o.Get(); {
		case sent && s == nil:
			*to = ""
		case sent:
			*to = *s
		}
	}
	err := a.update(c.Slug, func(found *article) {
		if title, sent := c.Title.Get(); sent {
			found.Title = title
		}
		text(c.Summary, &found.Summary)
		text(c.Note, &found.Note)
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *articles) picture(w http.ResponseWriter, r *http.Request) error {
	p := validate.MustFrom[picture](r.Context())
	content, err := p.Picture.Content() // a service would copy p.Picture.Open() to where it keeps files
	if err != nil {
		return err
	}
	err = a.update(p.Slug, func(found *article) {
		found.Picture, found.PictureType = content, p.Picture.Type
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// show sends all that is stored, which is careless; readers get what shown has.
func (a *articles) show(w http.ResponseWriter, r *http.Request) error {
	var found article
	if err := a.update(r.PathValue("slug"), func(stored *article) { found = *stored }); err != nil {
		return err
	}
	return answer(w, http.StatusOK, map[string]any{
		"slug": found.Slug, "title": found.Title, "summary": found.Summary, "language": found.Language, "note": found.Note,
	})
}

var pageTemplate = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><title>Articles</title>
<h1>Articles</h1><p id="article">none</p>
<script nonce="{{.}}">
fetch("/articles/gates").then(r => r.json()).then(a => document.getElementById("article").textContent = a.title || "none")
</script></html>
`))

// page runs the script that has the nonce of its own answer.
func page(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	return pageTemplate.Execute(w, transport.Nonce(r.Context()))
}

func answer(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
	return nil
}
