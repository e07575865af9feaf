package doctor

import (
	"context"
	"errors"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/topic"
)

// settingTopic is the setting of a difference for a topic that does not exist.
const settingTopic = "topic"

// topics compares each topic with what it must and should be.
func (d *doctor) topics(ctx context.Context) {
	for _, s := range d.Plan.Topics() {
		var found []kafka.Difference
		err := ask(ctx, func(ctx context.Context) (err error) {
			found, err = kafka.Compare(ctx, d.client, kafka.Topic(s))
			return err
		})
		denied, refused := errors.AsType[*kafka.Denied](err)
		switch {
		case refused:
			d.say(Unknown, CheckTopic, s.Name, "%s on this topic is not permitted to %s, so its settings cannot be compared",
				denied.Operation, d.self())
			continue
		case err != nil:
			d.say(Unknown, CheckTopic, s.Name, "%v", err)
			continue
		}
		for _, x := range found {
			d.different(s, x)
		}
		if len(found) == 0 {
			d.say(OK, CheckTopic, s.Name, "has %d partitions and the settings that it needs", s.Partitions)
		}
	}
}

func (d *doctor) different(s topic.Spec, x kafka.Difference) {
	f := Finding{State: Advice, Check: CheckTopic, Subject: x.Topic, Setting: x.Setting, Text: x.Brief()}
	if x.Promise {
		f.State = Wrong
	}
	switch command := x.Command(); {
	case x.Setting == settingTopic:
		f.Text, f.Command = "does not exist", d.Plan.CreateTopic(d.Tools, s, " ")
	case command != "":
		f.Command = d.Tools.Complete(command)
	}
	d.found(f)
}

// self returns how to call the user as which the doctor is connected.
func (d *doctor) self() string {
	if me := d.me(); me != "" {
		return me
	}
	return "this user"
}
