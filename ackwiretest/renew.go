package ackwiretest

import (
	"maps"
	"slices"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// authLocked handles an auth frame, which renews the socket's token or grant. What the new one does not permit ends,
// and frames without an ID say so.
func (k *socket) authLocked(f frame.ClientFrame) {
	if f.Token == "" {
		k.refuse(f.ID, frame.NewProblem(code.InvalidFrame, "token is missing"))
		return
	}
	who, err := k.s.identifyLocked(f.Token, true)
	if err != nil {
		k.refuse(f.ID, frame.NewProblem(code.Unauthenticated, "the token was refused"))
		k.out.close(code.CloseUnauthenticated)
		return
	}
	k.who = who
	k.armLocked()
	k.send(welcome(f.ID))
	if k.mine && (who.check(mayRead) != nil || who.checkMine() != nil) {
		k.mine = false
		k.send(frame.UnsubscribedFrame{
			Type: frame.Unsubscribed, Jobs: []string{}, Mine: true, Error: code.Forbidden,
		})
	}
	if who.check(mayRead) != nil || who.checkMine() != nil {
		for _, name := range slices.Sorted(maps.Keys(k.lists)) {
			k.send(frame.ListUnwatchedFrame{Type: frame.ListUnwatched, List: name, Error: code.Forbidden})
		}
		k.lists = nil
	}
	ended := frame.SubscribedFrame{Type: frame.Subscribed, Jobs: []frame.SubscribedJob{}}
	for _, id := range slices.Sorted(maps.Keys(k.subs)) {
		switch {
		case !who.may(mayRead):
			ended.Jobs = append(ended.Jobs, frame.SubscribedJob{JobID: id, Error: code.Forbidden})
		case k.s.findLocked(who, id) == nil:
			ended.Jobs = append(ended.Jobs, frame.SubscribedJob{JobID: id, Error: code.NotFound})
		default:
			continue
		}
		delete(k.subs, id)
	}
	if len(ended.Jobs) > 0 {
		k.send(ended)
	}
}

// armLocked has the client warned before its grant ends, and the socket closed when it has ended.
func (k *socket) armLocked() {
	k.disarmLocked()
	warning, end := k.who.over()
	if end.IsZero() {
		return
	}
	expires := k.who.expires
	k.ends = time.AfterFunc(time.Until(warning), func() {
		k.s.mu.Lock()
		defer k.s.mu.Unlock()
		if _, open := k.s.sockets[k]; !open || !k.who.expires.Equal(expires) {
			return
		}
		k.send(frame.NewExpiring(expires, time.Until(end)))
		k.ends = time.AfterFunc(time.Until(end), func() { k.out.close(code.CloseTokenExpired) })
	})
}

func (k *socket) disarmLocked() {
	if k.ends != nil {
		k.ends.Stop()
		k.ends = nil
	}
}
