// Package budget shares bytes out among the users of a tenant, the tenants of a process, and what
// each of them has open. One that has its share is refused while there is no room for more; one
// that is below its share is not, however much others have.
package budget

import "sync"

// Limits bound what accounts may have together, in bytes. 0 sets no bound.
type Limits struct {
	Subject int64 // all accounts of one user of a tenant
	Tenant  int64 // all of one tenant
	All     int64
}

// Budget is what is shared.
type Budget struct {
	limits Limits

	mu       sync.Mutex // guards all below and the nodes; no other lock is taken under it
	all      node
	tenants  map[string]*node
	subjects map[subject]*node
}

type subject struct{ tenant, name string }

// node is what a part of the tree has taken. What its children take is in it.
type node struct {
	limit  int64
	used   int64
	active int64 // children that have taken something
	open   int   // children that are there
}

// New returns a budget of which nothing is taken.
func New(l Limits) *Budget {
	return &Budget{limits: l, all: node{limit: l.All}, tenants: map[string]*node{}, subjects: map[subject]*node{}}
}

// Used is how many bytes are taken.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.used
}

// Account is what one session has of a budget. Close must be called. A nil Account is refused
// nothing.
type Account struct {
	// Set by Open, then only read.
	b    *Budget
	who  subject
	path [4]*node // itself, its subject, its tenant, all

	own node
}

// Open returns an account of a tenant's user that has taken nothing. That of a nil Budget is
// refused nothing.
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

// Take takes n bytes; false when there is no room for them.
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

// room reports whether a child may take n more of a node: there is so much left, or the child has
// less than its share. Shares that are given while others have more than theirs come on top; all
// together is never above twice the limit.
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

// Give gives n bytes back.
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

// Close gives back what is left, and forgets the account.
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
