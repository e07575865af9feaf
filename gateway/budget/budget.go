package budget

import "sync"

// Limits bound the sum of accounts, in bytes. 0 means no bound.
type Limits struct {
	Subject int64 // all accounts of one user of a tenant
	Tenant  int64 // all accounts of one tenant
	All     int64 // all accounts
}

// Budget is the memory of a process that is shared.
type Budget struct {
	limits Limits

	mu       sync.Mutex // guards the fields below and all nodes; no other lock is taken under it
	all      node
	tenants  map[string]*node
	subjects map[subject]*node
}

type subject struct{ tenant, name string }

// node is a node of the tree process → tenants → users → sessions. Its use includes that of its children.
type node struct {
	limit  int64
	used   int64
	active int64 // number of children that use something
	open   int   // number of children
}

// New returns a budget that is not used yet.
func New(l Limits) *Budget {
	return &Budget{limits: l, all: node{limit: l.All}, tenants: map[string]*node{}, subjects: map[subject]*node{}}
}

// Used returns how many bytes are in use.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.used
}

// Account is the use of a budget by one session. The caller must Close it. A nil Account is never
// refused anything.
type Account struct {
	// Set by Open, then only read.
	b    *Budget
	who  subject
	path [4]*node // its own node, its user's, its tenant's, the process's

	own node
}

// Open returns a new account of a tenant's user. That of a nil Budget is nil, and so never refused anything.
func (b *Budget) Open(tenant, name string) *Account {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	who := subject{tenant, name}
	t := b.tenants[tenant]
	if t == nil {
		t = &node{limit: b.limits.Tenant}
		b.tenants[tenant] = t
	}
	s := b.subjects[who]
	if s == nil {
		s = &node{limit: b.limits.Subject}
		b.subjects[who] = s
		t.open++
	}
	s.open++
	a := &Account{b: b, who: who}
	a.path = [4]*node{&a.own, s, t, &b.all}
	return a
}

// Take takes n bytes. It reports false, and takes nothing, if there is no room for them.
func (a *Account) Take(n int64) bool {
	if a == nil {
		return true
	}
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	for i, parent := range a.path[1:] {
		if !parent.room(a.path[i], n) {
			return false
		}
	}
	a.add(n)
	return true
}

// room reports whether a child may take n more bytes of a node: because that much is left, or because the child uses
// less than its share. The latter may exceed the limit, while others use more than their share, but never twice the
// limit.
func (parent *node) room(child *node, n int64) bool {
	if parent.limit == 0 || parent.used+n <= parent.limit {
		return true
	}
	if parent.used+n > 2*parent.limit {
		return false
	}
	sharers := parent.active
	if child.used == 0 {
		sharers++
	}
	return child.used+n <= parent.limit/max(sharers, 1)
}

// Give returns n bytes.
func (a *Account) Give(n int64) {
	if a == nil || n == 0 {
		return
	}
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	a.add(-n)
}

func (a *Account) add(n int64) {
	for i, part := range a.path {
		was := part.used > 0
		part.used += n
		if now := part.used > 0; now != was && i+1 < len(a.path) {
			if now {
				a.path[i+1].active++
			} else {
				a.path[i+1].active--
			}
		}
	}
}

// Close returns all bytes of the account and removes it.
func (a *Account) Close() {
	if a == nil {
		return
	}
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	a.add(-a.own.used)
	s, t := a.path[1], a.path[2]
	s.open--
	if s.open == 0 {
		delete(a.b.subjects, a.who)
		t.open--
		if t.open == 0 {
			delete(a.b.tenants, a.who.tenant)
		}
	}
}
