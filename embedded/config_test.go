package embedded

import (
	"reflect"
	"testing"

	"github.com/alecthomas/kong"
)

// TestDocumentedDefaultsAreTheDefaults: the command line's defaults are those of a program.
func TestDocumentedDefaultsAreTheDefaults(t *testing.T) {
	var flags Settings
	parser, err := kong.New(&flags)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(nil); err != nil {
		t.Fatal(err)
	}
	if !flags.onOwnBroker() {
		t.Errorf("without --kafka the brokers are %q", flags.Gateway.Kafka.Brokers)
	}
	if want := DefaultSettings(); !reflect.DeepEqual(flags, want) {
		t.Errorf("flags say\n%+v, DefaultSettings\n%+v", flags, want)
	}
}

// TestAKafkaOfOnesOwn: with brokers named, the process has no broker of its own.
func TestAKafkaOfOnesOwn(t *testing.T) {
	var flags Settings
	parser, err := kong.New(&flags)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse([]string{"--kafka=a:9092,b:9092"}); err != nil {
		t.Fatal(err)
	}
	if got := flags.Gateway.Kafka.Brokers; flags.onOwnBroker() || !reflect.DeepEqual(got, []string{"a:9092", "b:9092"}) {
		t.Errorf("--kafka=a:9092,b:9092 gives %q", got)
	}
}
