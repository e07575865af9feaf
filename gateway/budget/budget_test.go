package budget

import (
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func (a *Account) take(t *testing.T, why string, n int64, want bool) {
	t.Helper()
	if got := a.Take(n); got != want {
		t.Fatalf("%s: %d bytes are taken %t, want %t", why, n, got, want)
	}
}

func TestWhoIsBelowItsShareIsNotRefused(t *testing.T) {
	b := New(Limits{Subject: 100, Tenant: 150, All: 300})
	greedy := b.Open("acme", "ann")
	greedy.take(t, "all that a user may have", 100, true)
	greedy.take(t, "and no more", 1, false)
	second := b.Open("acme", "ann")
	second.take(t, "another session of hers has its share", 50, true)
	second.take(t, "and no more", 1, false)
	bob := b.Open("acme", "bob")
	bob.take(t, "another user has his share of the tenant", 75, true)
	bob.take(t, "and no more", 1, false)
	other := b.Open("umbrella", "eve")
	other.take(t, "another tenant has its share", 100, true)
	other.take(t, "and no more", 1, false)
	greedy.Give(100)
	bob.take(t, "what is given back is there for all", 25, true)
	for _, a := range []*Account{greedy, second, bob, other} {
		a.Close()
	}
	if b.Used() != 0 || len(b.tenants)+len(b.subjects) != 0 {
		t.Errorf("%d bytes of %d tenants and %d users are left", b.Used(), len(b.tenants), len(b.subjects))
	}
}

// TestTogetherTheyHaveABound takes and gives at random: no sum is ever above twice its limit.
func TestTogetherTheyHaveABound(t *testing.T) {
	const limit = 1000
	rnd := rand.New(rand.NewPCG(1, 2))
	b := New(Limits{Subject: limit, Tenant: 2 * limit, All: 4 * limit})
	accounts := make([]*Account, 60)
	for i := range accounts {
		accounts[i] = b.Open(string(rune('a'+i%5)), string(rune('a'+i%12)))
	}
	for range 100_000 {
		a := accounts[rnd.IntN(len(accounts))]
		if rnd.IntN(3) == 0 {
			a.Give(rnd.Int64N(a.own.used + 1))
		} else {
			a.Take(rnd.Int64N(200))
		}
		for i, most := range []int64{2 * limit, 2 * limit, 4 * limit, 8 * limit} {
			if used := a.path[i].used; used > most || used < 0 {
				t.Fatalf("level %d has %d", i, used)
			}
		}
	}
	for _, a := range accounts {
		a.Close()
	}
	if b.Used() != 0 || b.all.active != 0 {
		t.Errorf("%d bytes of %d are left", b.Used(), b.all.active)
	}
}

func TestWithoutALimit(t *testing.T) {
	a := New(Limits{}).Open("acme", "ann")
	a.take(t, "nothing is refused", 1<<40, true)
	a.Close()
	var none *Account
	none.take(t, "no account is refused nothing", 1, true)
	none.Give(1)
	none.Close()
}
