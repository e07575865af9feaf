// Package codec reads and writes the JSON of Ackwire's own messages. It does what encoding/json does, value for value,
// byte for byte and error for error, in a fraction of the time: a struct and its json tags are compiled into a table
// once, and messages are read in one pass, with an allocation for all short texts together.
//
// It knows a subset of JSON, which nearly all messages keep to: fields with exactly the name of their tag, each there
// once; no numbers such as 1.0 for an integer; nothing that package strict would refuse. Any other message, and any
// value that cannot be encoded, is passed on to encoding/json, which decides what it means and what its error is. So
// there is one set of rules, and fuzz tests compare the two in both directions.
package codec
