package subjects

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// A cursor is a time by the log's clock: all changes up to the time minus overlap were delivered. Its first character
// is the format.
const (
	// NoCursor is not a valid cursor of any log: a subscription with it is answered with reset.
	NoCursor = "-"

	cursorFormat = "1"
	roomRetry    = 50 * time.Millisecond // between two checks whether a subscriber has room
)

func writeCursor(at int64) string { return cursorFormat + strconv.FormatInt(at, 36) }

// readCursor returns the time since which the subscriber may have missed changes; 0 for an empty cursor. known is false
// if s is not a cursor of this log: it cannot be read, or has a time that the log's clock has not reached.
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

// tellCursor gives the current cursor to a subscriber, if it has received everything up to now. x.mu is held.
func (x *Index) tellCursor(s *subject, sub *Subscription) {
	whole := s.whole() && s.gap == 0 && !s.closing && !sub.waiting && sub.resume == 0
	if whole && sub.dirty {
		sub.dirty = !sub.Subscriber.Cursor(writeCursor(x.logNow()))
	}
}

// takeResume returns a subscription with a cursor that can be resumed now; nil if there is none.
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

// resume lists the jobs that have changed since the subscription's cursor and delivers their statuses, page by page, as
// there is room. After an error it tries the same page again; if it is interrupted, it is started anew later.
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
		page, cancel := context.WithTimeout(ctx, x.pageIn)
		listed, err := x.up.List(page, req)
		cancel()
		if err != nil {
			if !x.has(s, sub) || !pause.For(ctx, gapRetry) {
				return
			}
			continue // with the same page
		}
		if !x.deliver(s, sub, listed) {
			return
		}
		req.After = listed.Through
	}
}

// deliver delivers a page to a subscription. It reports whether another page follows.
func (x *Index) deliver(s *subject, sub *Subscription, page *trackerpb.ListResponse) (more bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !slices.Contains(s.subs, sub) {
		return false
	}
	for _, j := range page.Jobs {
		sub.Subscriber.SubjectStatus(j.Job.JobId, s.frame(j.Job, nil))
	}
	sub.dirty = true
	if page.Through == nil {
		sub.resume = 0
		x.tellCursor(s, sub)
	}
	return page.Through != nil
}

func (x *Index) has(s *subject, sub *Subscription) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Contains(s.subs, sub)
}
