package apikey_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth/apikey"
)

func TestRecordForms(t *testing.T) {
	_, rec := mint(t, apikey.MintConfig{Subject: "alice", Name: "laptop", Scopes: []string{"a"}, NeverExpires: true})
	want := "apikey.Record(" + rec.ID + " of alice)"
	if rec.String() != want || rec.GoString() != want {
		t.Errorf("got %s and %s, want %s", rec.String(), rec.GoString(), want)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("", "key", rec)
	if want := `"key":{"id":"` + rec.ID + `","subject":"alice"}`; !strings.Contains(log.String(), want) {
		t.Errorf("got %s, want %s", &log, want)
	}
	got, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"id":"` + rec.ID + `","prefix":"sk","subject":"alice","name":"laptop","scopes":["a"],"created":"` + rec.Created.Format(time.RFC3339) + `"}`; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		name, field string
		edit        func(*apikey.Record)
	}{
		{"as minted", "", func(*apikey.Record) {}},
		{"no id", "ID", func(r *apikey.Record) { r.ID = "" }},
		{"a short id", "ID", func(r *apikey.Record) { r.ID = r.ID[1:] }},
		{"a long id", "ID", func(r *apikey.Record) { r.ID += "0" }},
		{"an id of other characters", "ID", func(r *apikey.Record) { r.ID = "i" + r.ID[1:] }},
		{"no hash", "Hash", func(r *apikey.Record) { r.Hash = "" }},
		{"the hash of another algorithm", "Hash", func(r *apikey.Record) { r.Hash = "md5:" + r.Hash[7:] }},
		{"a short hash", "Hash", func(r *apikey.Record) { r.Hash = r.Hash[:60] }},
		{"a hash of other characters", "Hash", func(r *apikey.Record) { r.Hash = r.Hash[:70] + "g" }},
		{"no subject", "Subject", func(r *apikey.Record) { r.Subject = "" }},
		{"a scope with a backslash", "Scopes", func(r *apikey.Record) { r.Scopes = []string{`a\b`} }},
		{"a scope that is not ASCII", "Scopes", func(r *apikey.Record) { r.Scopes = []string{"ä"} }},
		{"an empty role", "Roles", func(r *apikey.Record) { r.Roles = []string{""} }},
		{"no prefix", "", func(r *apikey.Record) { r.Prefix = "" }},
		{"a prefix and an environment", "", func(r *apikey.Record) { r.Prefix = "sk_live" }},
		{"three parts", "Prefix", func(r *apikey.Record) { r.Prefix = "sk_live_eu" }},
		{"an empty environment", "Prefix", func(r *apikey.Record) { r.Prefix = "sk_" }},
		{"a whole key for a prefix", "Prefix", func(r *apikey.Record) { r.Prefix = "sk_" + r.ID + "_0" }},
		{"a network", "", func(r *apikey.Record) { r.Networks = []netip.Prefix{netip.MustParsePrefix("::/0")} }},
		{"no network", "Networks", func(r *apikey.Record) { r.Networks = []netip.Prefix{{}} }},
		{"an address in a network", "Networks", func(r *apikey.Record) { r.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")} }},
		{"a mapped network", "Networks", func(r *apikey.Record) { r.Networks = []netip.Prefix{netip.MustParsePrefix("::ffff:0:0/96")} }},
		{"a peppered hash", "", func(r *apikey.Record) { r.Hash = "hmac-sha256:2026:" + r.Hash[7:] }},
		{"a peppered hash of nobody's", "Hash", func(r *apikey.Record) { r.Hash = "hmac-sha256:" + r.Hash[7:] }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, rec := mint(t, apikey.MintConfig{Subject: "alice"})
			tt.edit(&rec)
			err := rec.Validate()
			switch {
			case tt.field == "" && err != nil:
				t.Errorf("got %v", err)
			case tt.field != "" && (err == nil || !strings.HasPrefix(err.Error(), "apikey: Record."+tt.field)):
				t.Errorf("got %v, want an error that names %s", err, tt.field)
			}
			if err != nil && len(rec.Hash) > 60 && strings.Contains(err.Error(), rec.Hash) {
				t.Errorf("the error has the hash: %v", err)
			}
		})
	}
}

// sha256Hex returns the hash of a text in the form of Record.Hash.
func sha256Hex(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// everything is a store that has one record for each id.
func everything(rec apikey.Record) func(context.Context, string) (apikey.Record, error) {
	return func(_ context.Context, id string) (apikey.Record, error) {
		rec.ID = id
		return rec, nil
	}
}
