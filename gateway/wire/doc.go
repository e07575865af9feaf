// Package wire decodes client frames and HTTP bodies strictly, and encodes server frames as complete WebSocket frames
// (RFC 6455 §5.2): unmasked, unfragmented, ready to be written.
package wire
