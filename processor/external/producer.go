package external

import (
	"errors"
	"net/http"
	"strconv"
	"unicode/utf8"
)

// Headers of idempotent producers (Durable Streams protocol, §5.2.1).
const (
	producerID       = "Producer-Id"
	producerEpoch    = "Producer-Epoch"
	producerSeq      = "Producer-Seq"
	producerExpected = "Producer-Expected-Seq"
	producerReceived = "Producer-Received-Seq"
)

// Bounds of producers.
const (
	maxProducers     = 1024      // of one run, all streams together
	maxProducerBytes = 256       // of an ID, and of a Stream-Seq
	maxSafeInteger   = 1<<53 - 1 // of an epoch and of a sequence number: the largest that JavaScript counts exactly
)

// claim is what a request says of its producer.
type claim struct {
	id         string
	epoch, seq int64
}

// producer is what a stream remembers of one producer: the epoch that counts, and the last number that was taken; -1
// if nothing of it was taken.
type producer struct{ epoch, last int64 }

// standing says what becomes of a producer's request.
type standing int

const (
	fresh     standing = iota // it comes next
	duplicate                 // it was taken before
	fenced                    // a later epoch has begun
	gap                       // requests before it are missing
	skewed                    // a new epoch does not begin with 0
)

// judge says what becomes of a request. p is nil while the stream does not know the producer.
func (p *producer) judge(c claim) standing {
	switch {
	case p.isNew() && c.seq > 0:
		return gap
	case p.isNew():
		return fresh
	case c.epoch < p.epoch:
		return fenced
	case c.epoch > p.epoch && c.seq > 0:
		return skewed
	case c.epoch > p.epoch:
		return fresh
	case c.seq <= p.last:
		return duplicate
	case c.seq > p.last+1:
		return gap
	}
	return fresh
}

func (p *producer) isNew() bool { return p == nil || p.last < 0 }

// expected returns the number that comes next in the producer's epoch.
func (p *producer) expected() int64 {
	if p == nil {
		return 0
	}
	return p.last + 1
}

// readClaim reads the headers of a producer. It returns nil if there are none.
func readClaim(h http.Header) (*claim, error) {
	id, epoch, seq := h.Values(producerID), h.Values(producerEpoch), h.Values(producerSeq)
	switch n := len(id) + len(epoch) + len(seq); {
	case n == 0:
		return nil, nil
	case len(id) != 1 || len(epoch) != 1 || len(seq) != 1:
		return nil, errors.New("a producer has one Producer-Id, one Producer-Epoch and one Producer-Seq")
	case id[0] == "" || len(id[0]) > maxProducerBytes || !utf8.ValidString(id[0]):
		return nil, errors.New("a Producer-Id has 1 to 256 bytes of UTF-8")
	}
	c := &claim{id: id[0]}
	var ok, okSeq bool
	c.epoch, ok = safeInteger(epoch[0])
	c.seq, okSeq = safeInteger(seq[0])
	if !ok || !okSeq {
		return nil, errors.New("a Producer-Epoch and a Producer-Seq are integers from 0 to 2^53-1")
	}
	return c, nil
}

// safeInteger reads decimal digits.
func safeInteger(s string) (int64, bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n <= maxSafeInteger
}
