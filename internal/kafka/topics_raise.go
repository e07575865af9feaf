package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const settingRetention = "retention.ms"

// possible returns an error if a topic would be made with a setting that breaks its own promise, as when an operator's
// retention is shorter than the jobs' lives.
func possible(topics []Topic) error {
	for _, t := range topics {
		for _, name := range slices.Sorted(maps.Keys(t.Promises)) {
			if v, ok := t.Configs[name]; ok && !follows(v, t.Promises[name]) {
				d := Difference{Topic: t.Name, Setting: name, Have: v, Want: t.Promises[name], Promise: true,
					Why: t.Why[name]}
				return fmt.Errorf("topic-settings: %s.%s: %s", t.Kind, name, d)
			}
		}
	}
	return nil
}

// raise gives topics that an earlier process has made the retention that this one needs: a tracker, for example, makes
// status without knowing how long jobs live. A shorter retention than Ackwire's own is somebody's decision, and stays.
// It returns the differences that are left.
func (k *Keeper) raise(ctx context.Context, cl *kgo.Client, topics []Topic, found []Difference) ([]Difference, error) {
	var left []Difference
	for _, d := range found {
		i := slices.IndexFunc(topics, func(t Topic) bool { return t.Name == d.Topic })
		if d.Setting != settingRetention || !d.Promise || topics[i].Made == "" || !follows(d.Have, ">="+topics[i].Made) {
			left = append(left, d)
			continue
		}
		want := strings.TrimPrefix(d.Want, ">=")
		resp, err := kadm.NewClient(cl).AlterTopicConfigs(ctx, []kadm.AlterConfig{
			{Op: kadm.SetConfig, Name: d.Setting, Value: &want},
		}, d.Topic)
		if err == nil {
			err = resp[0].Err
		}
		switch {
		case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
			denied := &Denied{Operation: "AlterConfigs", Resource: "topic", Name: d.Topic, cause: err}
			return left, fmt.Errorf("%s; %w", d.mended(), denied)
		case err != nil:
			return left, fmt.Errorf("%s; to raise it was refused: %w", d.mended(), err)
		}
		k.log.Info("a topic is kept longer, for job types that live longer", "topic", d.Topic, "before", d.Have, "now", want)
	}
	return left, nil
}

// mended returns String, and the command that mends the difference.
func (d Difference) mended() string {
	if c := d.Command(); c != "" {
		return d.String() + " (" + c + ")"
	}
	return d.String()
}
