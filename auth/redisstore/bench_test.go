package redisstore_test

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/redisstore"
	"github.com/sallyport/sallyport/internal/redistest"
)

// The server shares the machine with the client.
func BenchmarkRevoked(b *testing.B) {
	b.Run("single", func(b *testing.B) { revoked(b, single(b, redistest.Start(b).Addr)) })
	b.Run("cluster", func(b *testing.B) { revoked(b, cluster(b, redistest.StartCluster(b))) })
}

func revoked(b *testing.B, client redis.UniversalClient) {
	s := newRevocations(b, redisstore.Config{Client: client, Timeout: patience})
	token := auth.TokenInfo{Issuer: issuer, ID: "d3b07384-d9a0", SessionID: "0d6b6f2d51", Subject: "248289761001", IssuedAt: time.Now()}
	b.ReportAllocs()
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if revoked, err := s.Revoked(b.Context(), token); revoked || err != nil {
				b.Fatal(revoked, err)
			}
		}
	})
}

func BenchmarkUse(b *testing.B) {
	s := newReplays(b, redisstore.Config{Client: single(b, redistest.Start(b).Addr), Timeout: patience})
	var n atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if first, err := s.Use(b.Context(), strconv.FormatInt(n.Add(1), 10), inAnHour()); !first || err != nil {
				b.Fatal(first, err)
			}
		}
	})
}

func BenchmarkRevoke(b *testing.B) {
	s := newRevocations(b, redisstore.Config{Client: single(b, redistest.Start(b).Addr), Timeout: patience})
	until := inAnHour()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := s.Revoke(b.Context(), auth.Revocation{Issuer: issuer, TokenID: strconv.Itoa(i), Until: until}); err != nil {
			b.Fatal(err)
		}
	}
}
