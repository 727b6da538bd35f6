package apikey_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/auth/apikey"
)

// What every store must do is checked in storetest.

func TestNewMemoryStoreRefuses(t *testing.T) {
	_, rec := mint(t, apikey.MintConfig{Subject: "alice"})
	invalid := rec
	invalid.Subject = ""
	for _, tt := range []struct {
		name    string
		records []apikey.Record
		want    string
	}{
		{"an id twice", []apikey.Record{rec, rec}, "record 1: apikey: Record.ID"},
		{"no owner", []apikey.Record{invalid}, "record 0: apikey: Record.Subject"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := apikey.NewMemoryStore(tt.records...)
			if err == nil || m != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v, want an error with %q", m, err, tt.want)
			}
		})
	}
}

func TestMemoryStoreHonoursTheContext(t *testing.T) {
	_, rec := mint(t, apikey.MintConfig{Subject: "alice"})
	_, other := mint(t, apikey.MintConfig{Subject: "alice"})
	m := memory(t, rec)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, keyErr := m.Key(ctx, rec.ID)
	_, listErr := m.List(ctx, "alice")
	for what, err := range map[string]error{
		"Key": keyErr, "List": listErr, "Add": m.Add(ctx, other), "Revoke": m.Revoke(ctx, "alice", rec.ID, time.Time{}),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want context.Canceled", what, err)
		}
	}
}

func TestMemoryStoreString(t *testing.T) {
	_, rec := mint(t, apikey.MintConfig{Subject: "alice"})
	if got, want := fmt.Sprintf("%+v", memory(t, rec)), "apikey.MemoryStore(1 keys)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
