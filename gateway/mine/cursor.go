package mine

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// A cursor is a time by the log's clock: all that changed before, less overlap, was delivered. Its
// first character is its format.
const (
	// NoCursor is no cursor of any log: a subscription with it is answered with reset.
	NoCursor = "-"

	cursorFormat = "1"
	roomRetry    = 50 * time.Millisecond // between two looks whether a subscriber has room
)

func writeCursor(at int64) string { return cursorFormat + strconv.FormatInt(at, 36) }

// readCursor is since when something may have been missed; 0 is nothing. known is false for what is
// no cursor of this log: nonsense, or a time that its clock has not reached.
func readCursor(s string, now int64) (since int64, known bool) {
	if s == "" {
		return 0, true
	}
	digits, ok := strings.CutPrefix(s, cursorFormat)
	at, err := strconv.ParseInt(digits, 36, 64)
	if !ok || err != nil || at <= 0 || at > now+overlap.Milliseconds() {
		return 0, false
	}
	return max(at-overlap.Milliseconds(), 1), true
}

// tellCursor says to subscribers up to where they were told, where nothing is missing. x.mu is held.
func (x *Index) tellCursor(s *subject) {
	if s.closing {
		return
	}
	cursor := writeCursor(x.logNow())
	for _, sub := range s.subs {
		if sub.dirty && !sub.waiting && sub.resume == 0 && !sub.resumes {
			sub.dirty = !sub.Subscriber.Cursor(cursor)
		}
	}
}

// takeResume is a subscription that can be told now what it has missed; nil when there is none.
func (x *Index) takeResume() (*subject, *Subscription) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.subjects {
		for _, sub := range s.subs {
			if sub.resume != 0 && !sub.resumes && s.whole() {
				sub.resumes = true
				return s, sub
			}
		}
	}
	return nil, nil
}

// resume delivers what has changed since the subscription's cursor, as fast as there is room for it.
// One that cannot be brought to its end begins again.
func (x *Index) resume(ctx context.Context, s *subject, sub *Subscription) {
	defer func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		sub.resumes = false
	}()
	req := &trackerpb.ListRequest{
		Tenant: sub.Tenant, Subjects: []string{sub.Subject}, UpdatedFrom: sub.resume, Limit: gapPage,
	}
	for {
		for !sub.Subscriber.Room() {
			if !x.has(s, sub) || !pause.For(ctx, roomRetry) {
				return
			}
		}
		page, cancel := context.WithTimeout(ctx, gapTimeout)
		listed, err := x.up.List(page, req)
		cancel()
		if err != nil {
			if !x.has(s, sub) || !pause.For(ctx, gapRetry) {
				return
			}
			continue // from the same place
		}
		if !x.deliver(s, sub, listed) {
			return
		}
		req.After = listed.Through
	}
}

// deliver tells a subscription of a page; false when nothing follows.
func (x *Index) deliver(s *subject, sub *Subscription, page *trackerpb.ListResponse) (more bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !slices.Contains(s.subs, sub) {
		return false
	}
	for _, j := range page.Jobs {
		sub.Subscriber.MineStatus(j.Job.JobId, s.frame(j.Job, nil))
	}
	sub.dirty = true
	if page.Through == nil {
		sub.resume = 0
	}
	return page.Through != nil
}

func (x *Index) has(s *subject, sub *Subscription) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Contains(s.subs, sub)
}
