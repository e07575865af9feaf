package keeper

import (
	"bytes"
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/stream"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/workers"
)

// parse reads a record. It is nil if it is none of a stream.
func parse(rec *kgo.Record) *stream.Chunk {
	headers := make([]topic.Header, len(rec.Headers))
	for i, h := range rec.Headers {
		headers[i] = topic.Header{Key: h.Key, Value: h.Value}
	}
	c, err := stream.Parse(string(rec.Key), headers, rec.Value)
	if err != nil {
		return nil
	}
	return &c
}

// take takes the records of one poll, after it has asked the shard for those of their jobs that are not known.
func (k *Keeper) take(ctx context.Context, b batch) error {
	k.lag.begins(b.records)
	chunks := make([]*stream.Chunk, len(b.records))
	for i, rec := range b.records {
		if !rec.Attrs.IsControl() && !workers.IsAnnouncement(rec) {
			chunks[i] = parse(rec)
		}
	}
	unknown, err := k.unknown(chunks)
	if err != nil {
		return err
	}
	if err := k.ask(ctx, unknown); err != nil {
		return err
	}
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, rec := range b.records {
		switch c := chunks[i]; {
		case c != nil:
			if err := k.takeOne(c, rec, now); err != nil {
				return err
			}
		case workers.IsAnnouncement(rec):
			if k.cfg.Workers != nil {
				k.cfg.Workers.Take(rec, now)
			}
		case !rec.Attrs.IsControl():
			k.log.Debug("a record of the topic streams cannot be decoded", "offset", rec.Offset)
			k.shared.records[undecodable].Inc()
		}
		k.next = max(k.next, rec.Offset+1)
		if rec.Timestamp.After(k.held.now) {
			k.held.now = rec.Timestamp
		}
	}
	k.dropOverdue(now)
	k.shrink()
	k.ready = k.ready || k.next >= k.until
	k.shared.lag.Add(float64(k.lag.taken(b.records, max(b.end-k.next, 0))))
	return nil
}

// unknown returns the jobs of which the shard has not told yet.
func (k *Keeper) unknown(chunks []*stream.Chunk) (ids []string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	seen := map[string]bool{}
	for _, c := range chunks {
		if c == nil || seen[c.JobID] {
			continue
		}
		seen[c.JobID] = true
		j, err := k.job(c.JobID)
		if err != nil {
			return nil, err
		}
		if !j.asked {
			ids = append(ids, c.JobID)
		}
	}
	return ids, nil
}

// ask asks the shard for jobs until it answers, and takes what it says.
func (k *Keeper) ask(ctx context.Context, ids []string) error {
	for len(ids) > 0 {
		some := ids[:min(len(ids), MaxAsked)]
		ids = ids[len(some):]
		var all []Facts
		err := k.retried(ctx, "the shard does not answer", func() (err error) {
			all, err = k.cfg.Jobs(ctx, some)
			return err
		})
		if err != nil {
			return err
		}
		k.mu.Lock()
		for i, id := range some {
			j, err := k.job(id)
			if err != nil {
				k.mu.Unlock()
				return err
			}
			k.learn(j, all[i])
		}
		k.mu.Unlock()
	}
	return nil
}

// hear asks the shard for jobs that have changed.
func (k *Keeper) hear(ctx context.Context) error { return k.askAgain(ctx, k.news.take(MaxAsked)) }

// askAgain is ask for jobs of which no record is at hand: those that need not stay in memory leave it.
func (k *Keeper) askAgain(ctx context.Context, ids []string) error {
	err := k.ask(ctx, ids)
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, id := range ids {
		if j := k.jobs[id]; j != nil {
			k.release(j)
		}
	}
	return err
}

// takeOne takes one record. k.mu is held.
func (k *Keeper) takeOne(c *stream.Chunk, rec *kgo.Record, now time.Time) error {
	j, err := k.job(c.JobID)
	if err != nil {
		return err
	}
	if k.weigh(j, &heldRecord{chunk: *c, offset: rec.Offset}) != waits {
		return nil
	}
	before := k.held.bytes
	k.held.add(*c, rec.Offset, rec.Timestamp, now)
	k.shared.waiting.Add(float64(k.held.bytes - before))
	j.holds++
	if !j.asked {
		k.news.tell(j.id)
	}
	return nil
}

// dropOverdue drops records that have waited for too long.
func (k *Keeper) dropOverdue(now time.Time) {
	for {
		before := k.held.bytes
		r, why := k.held.overdue(now)
		k.shared.waiting.Add(float64(k.held.bytes - before))
		if r == nil {
			return
		}
		k.shared.records[why].Inc()
		if j := k.jobs[r.chunk.JobID]; j != nil {
			j.holds--
			k.release(j)
		}
	}
}

// weigh takes a record if it counts, and returns what became of it. Unless it waits, it is counted. k.mu is held.
func (k *Keeper) weigh(j *jobState, r *heldRecord) outcome {
	o := judge(&j.facts, &r.chunk)
	if o == waits {
		return o
	}
	if o == taken {
		o = k.append(j, &r.chunk, r.offset)
	}
	k.shared.records[o].Inc()
	return o
}

// append adds a record of the run that counts to its stream, if it goes on where that ends.
func (k *Keeper) append(j *jobState, c *stream.Chunk, offset int64) outcome {
	s := j.row.Streams[c.Stream]
	o := fit(s, len(j.row.Streams), j.closed || j.settled, c)
	if o != taken && (o != gap || s != nil && s.Gone) {
		return o
	}
	if s == nil {
		s = &streamState{Kind: c.Kind}
		j.row.Streams[c.Stream] = s
	}
	k.change(j)
	if o == gap {
		s.Gone = true
		k.shared.lost.Inc()
		k.log.Warn("records of a stream are lost", "job", j.id, "stream", c.Stream, "from", s.End, "to", c.From)
		j.wake()
		return o
	}
	p, err := cut(c.Kind, piece{c.From, c.End(), c.Value}, s.End)
	if err != nil || p.From != s.End {
		return undecodable // unreachable with one writer: its pieces end between two characters
	}
	p.Value = bytes.Clone(p.Value)
	s.Marks.add(s.End, offset)
	s.End = p.To
	s.Bytes += int64(len(p.Value))
	t := j.tails[c.Stream]
	if t == nil {
		t = &tail{}
		j.tails[c.Stream] = t
	}
	k.shared.tails.add(t, p)
	j.wake()
	return o
}
