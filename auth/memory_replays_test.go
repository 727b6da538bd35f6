package auth_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/storetest"
)

func TestMemoryReplays(t *testing.T) {
	storetest.RunReplays(t, func(*testing.T) auth.Replays { return auth.NewMemoryReplays(0) })
}

// One that is full forgets nothing that counts, and has room again for as much as
// has ended.
func TestMemoryReplaysFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 300 // more than one call drops
		m := auth.NewMemoryReplays(size)
		use := func(key string, lifetime time.Duration) (bool, error) {
			return m.Use(t.Context(), key, time.Now().Add(lifetime))
		}
		for round := range 3 {
			for i := range size {
				if first, err := use(fmt.Sprint(round, i), time.Minute); !first || err != nil {
					t.Fatalf("round %d, key %d: got %v, %v, want true", round, i, first, err)
				}
			}
			time.Sleep(time.Minute - time.Millisecond)
			if first, err := use("one more", time.Minute); first || err == nil || !strings.Contains(err.Error(), "full") {
				t.Errorf("a key too many: got %v, %v, want an error that the store is full", first, err)
			}
			for i := range size {
				if first, err := use(fmt.Sprint(round, i), time.Hour); first || err != nil {
					t.Fatalf("round %d, key %d again: got %v, %v, want false", round, i, first, err)
				}
			}
			time.Sleep(time.Millisecond)
		}
		if first, err := use("one more", time.Minute); !first || err != nil {
			t.Errorf("when all have ended: got %v, %v, want true", first, err)
		}
	})
}

// Keys are compared with a list that is looked through from end to end.
func TestMemoryReplaysModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		const size = 50
		m, model := auth.NewMemoryReplays(size), make(map[string]time.Time)
		full := 0
		for i := range 20_000 {
			time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
			now, key := time.Now(), strconv.Itoa(random.IntN(200))
			until := now.Add(time.Duration(random.IntN(1000)) * time.Millisecond)
			for key, until := range model {
				if !until.After(now) {
					delete(model, key)
				}
			}
			_, known := model[key]
			wantFirst, wantErr := !known && until.After(now), false
			if wantFirst && len(model) == size {
				wantFirst, wantErr = false, true
				full++
			}
			first, err := m.Use(t.Context(), key, until)
			if first != wantFirst || (err != nil) != wantErr {
				t.Fatalf("use %d of %s: got %v, %v, want %v and an error: %v", i, key, first, err, wantFirst, wantErr)
			}
			if first {
				model[key] = until
			}
		}
		if full == 0 {
			t.Error("the store was never full: make the lifetimes longer")
		}
	})
}

func TestMemoryStoresShowNothing(t *testing.T) {
	replays, revocations := auth.NewMemoryReplays(0), auth.NewMemoryRevocations(0)
	for _, v := range []any{replays, revocations} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
			if got := fmt.Sprintf(verb, v); !strings.HasPrefix(got, "auth.Memory") || len(got) > 25 {
				t.Errorf("%s: got %s, want the name of the type alone", verb, got)
			}
		}
	}
}

func BenchmarkMemoryReplaysUse(b *testing.B) {
	m := auth.NewMemoryReplays(1 << 30)
	ctx := b.Context()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		key := [43]byte{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24)}
		if first, err := m.Use(ctx, string(key[:]), time.Now().Add(time.Second)); !first {
			b.Fatal(err)
		}
	}
}
