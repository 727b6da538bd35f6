package password

import (
	"errors"
	"testing"
	"time"
)

// A machine on which each unit of cost takes the same time.
func TestCalibrate(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name   string
		cfg    Config
		target time.Duration
		took   func(maker) time.Duration
		want   Config
	}{
		{"argon2id", Config{}, 250 * ms, argon2Took(10 * ms), Config{Memory: 19456, Iterations: 25}},
		{"argon2id over more memory", Config{Memory: 64 << 10}, 250 * ms, argon2Took(100 * ms), Config{Memory: 64 << 10, Iterations: 2}},
		{"argon2id with a floor of one's own", Config{Iterations: 30}, 250 * ms, argon2Took(10 * ms), Config{Memory: 19456, Iterations: 30}},
		{"argon2id, the floor takes longer", Config{}, 10 * ms, argon2Took(10 * ms), Config{Memory: 19456, Iterations: 2}},
		{"argon2id, the limit of work", Config{MaxMemory: 19456}, time.Hour, argon2Took(ms), Config{MaxMemory: 19456, Memory: 19456, Iterations: 16}},
		{"argon2id, the limit of passes", Config{}, time.Hour, argon2Took(ms), Config{Memory: 19456, Iterations: 215}},
		{"argon2id from one pass", Config{Iterations: 1}, 50 * ms, argon2Took(10 * ms), Config{Memory: 47104, Iterations: 5}},
		{"PBKDF2", Config{Algorithm: PBKDF2SHA256}, 250 * ms, pbkdf2Took, Config{Algorithm: PBKDF2SHA256, Iterations: 2_500_000}},
		{"PBKDF2, the limit", Config{Algorithm: PBKDF2SHA512}, time.Hour, pbkdf2Took, Config{Algorithm: PBKDF2SHA512, Iterations: 4_000_000}},
		{"scrypt", Config{Algorithm: Scrypt, MaxMemory: 1 << 20}, 700 * ms, scryptTook, Config{Algorithm: Scrypt, MaxMemory: 1 << 20, Memory: 512 << 10}},
		{"scrypt, the limit", Config{Algorithm: Scrypt}, time.Hour, scryptTook, Config{Algorithm: Scrypt, Memory: 256 << 10}},
		{"scrypt, the limit of work", Config{Algorithm: Scrypt, Parallelism: 30, MaxMemory: 128 << 10}, time.Hour, scryptTook, Config{Algorithm: Scrypt, Parallelism: 30, MaxMemory: 128 << 10, Memory: 64 << 10}},
		{"bcrypt", Config{Algorithm: Bcrypt}, time.Second, bcryptTook, Config{Algorithm: Bcrypt, BcryptCost: 13}},
		{"bcrypt from 10", Config{Algorithm: Bcrypt, BcryptCost: 10}, 260 * ms, bcryptTook, Config{Algorithm: Bcrypt, BcryptCost: 11}},
		{"bcrypt, the limit", Config{Algorithm: Bcrypt}, time.Hour, bcryptTook, Config{Algorithm: Bcrypt, BcryptCost: 14}},
		{"with a pepper", Config{Algorithm: Bcrypt, Peppers: []Pepper{{ID: "p", Key: make([]byte, 32)}}}, time.Second, bcryptTook, Config{Algorithm: Bcrypt, BcryptCost: 13}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			measure := func(h *Hasher) (time.Duration, error) {
				return tt.took(h.plainMaker()), nil
			}
			got, err := calibrate(tt.cfg, tt.target, measure)
			if err != nil {
				t.Fatal(err)
			}
			c := got.Config
			if c.Algorithm != tt.want.Algorithm || c.Memory != tt.want.Memory || c.Iterations != tt.want.Iterations || c.BcryptCost != tt.want.BcryptCost ||
				c.MaxMemory != tt.want.MaxMemory || len(c.Peppers) != len(tt.cfg.Peppers) {
				t.Errorf("got %+v, want %+v", c, tt.want)
			}
			h, err := New(c)
			if err != nil {
				t.Fatal(err)
			}
			if took, _ := measure(h); got.Took != took {
				t.Errorf("it says that it took %v, and it takes %v", got.Took, took)
			}
		})
	}
}

func argon2Took(each time.Duration) func(maker) time.Duration {
	return func(m maker) time.Duration { return time.Duration(m.(params).passes) * each }
}

func pbkdf2Took(m maker) time.Duration {
	return time.Duration(m.(pbkdf2Params).iterations) * 100 * time.Nanosecond
}

func scryptTook(m maker) time.Duration {
	return time.Duration(m.(scryptParams).memory()>>10) * time.Millisecond
}

func bcryptTook(m maker) time.Duration {
	return 100 * time.Millisecond << (m.(bcryptCost) - 10)
}

func TestCalibrateRefuses(t *testing.T) {
	failing := errors.New("measure")
	for _, tt := range []struct {
		name   string
		cfg    Config
		target time.Duration
		want   string
	}{
		{"no target", Config{}, 0, "password: the target of Calibrate is not positive"},
		{"a Config that New refuses", Config{MaxLength: 1}, time.Second, "password: Config.MaxLength is 1, must be between 64 and 65536"},
		{"a hash that can't be made", Config{}, time.Second, "measure"},
	} {
		_, err := calibrate(tt.cfg, tt.target, func(*Hasher) (time.Duration, error) { return 0, failing })
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
	}
	// On a real machine, whatever it is: the floor, since nothing is as quick.
	got, err := Calibrate(Config{}, time.Nanosecond)
	if err != nil || got.Config.Iterations != 2 || got.Took <= time.Nanosecond {
		t.Errorf("got %+v, %v", got, err)
	}
}
