package ackwiretest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// watchedList is a list that a socket watches.
type watchedList struct {
	query  listQuery
	inside map[*record]bool // the jobs that are in it
}

// listLocked handles watchList and unwatchList.
func (k *socket) listLocked(f frame.ClientFrame) {
	err := k.who.check(mayRead)
	if err == nil && (f.List == "" || len(f.List) > frame.MaxIDChars) {
		err = frame.NewProblem(code.InvalidFrame, "list is missing or too long")
	}
	if err == nil && f.Type == frame.WatchList {
		err = k.watchListLocked(f)
	}
	switch {
	case err != nil:
		k.refuse(f.ID, err)
	case f.Type == frame.WatchList:
		k.send(frame.ListWatchedFrame{Type: frame.ListWatched, ID: f.ID, List: f.List})
	default:
		delete(k.lists, f.List)
		k.send(frame.ListUnwatchedFrame{Type: frame.ListUnwatched, ID: f.ID, List: f.List})
	}
}

func (k *socket) watchListLocked(f frame.ClientFrame) error {
	if err := k.who.checkMine(); err != nil {
		return err
	}
	query, err := readFilter(f.Filter)
	if err != nil {
		return frame.NewProblem(code.InvalidFrame, err.Error())
	}
	if _, again := k.lists[f.List]; !again && len(k.lists) >= frame.MaxWatchedLists {
		return frame.NewProblem(code.LimitExceeded, fmt.Sprintf("%d lists are watched", len(k.lists)))
	}
	l := &watchedList{query: query, inside: map[*record]bool{}}
	for _, r := range k.s.order {
		if k.s.records[r.doc.JobID] == r && k.who.sees(r) && query.takes(r) {
			l.inside[r] = true
		}
	}
	if k.lists == nil {
		k.lists = map[string]*watchedList{}
	}
	k.lists[f.List] = l
	return nil
}

// readFilter reads the filter of a watchList frame as the query of a list.
func readFilter(b json.RawMessage) (listQuery, error) {
	var read map[string]any
	if len(b) > 0 && json.Unmarshal(b, &read) != nil {
		return listQuery{}, errors.New("filter is not an object")
	}
	values := url.Values{}
	for name, v := range read {
		all, ok := v.([]any)
		if !ok {
			all = []any{v}
		}
		for _, one := range all {
			_, text := one.(string)
			if _, is := one.(bool); !text && (ok || !is) {
				return listQuery{}, fmt.Errorf("filter: %.64q must be a text, a boolean or a list of texts", name)
			}
			values.Add(name, fmt.Sprint(one))
		}
	}
	for _, name := range []string{"limit", "cursor"} {
		if values.Has(name) {
			return listQuery{}, fmt.Errorf("%q is not a parameter here", name)
		}
	}
	return readList(values)
}

// removeLocked removes a job.
func (s *Server) removeLocked(r *record) {
	delete(s.records, r.doc.JobID)
	for k := range s.sockets {
		k.listedLocked(r, true)
	}
}

// listedLocked tells the socket's lists that a job has changed; gone is set if it was removed.
func (k *socket) listedLocked(r *record, gone bool) {
	for name, l := range k.lists {
		f := frame.ListChangedFrame{Type: frame.ListChanged, List: name}
		switch {
		case !gone && k.who.sees(r) && l.query.takes(r):
			l.inside[r] = true
			f.Rows = []frame.ListRow{{Version: r.version, Job: r.raw}}
		case l.inside[r]:
			delete(l.inside, r)
			f.Left = []frame.LeftRow{{JobID: r.doc.JobID, Version: r.version}}
			if gone {
				f.Left[0].Version++
			}
		default:
			continue
		}
		k.send(f)
	}
}
