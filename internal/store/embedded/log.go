package embedded

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapToSlog gives etcd a logger that writes to ours. etcd's "info" is our debugging.
func zapToSlog(log *slog.Logger) *zap.Logger {
	return zap.New(&bridge{handler: log.Handler()})
}

type bridge struct{ handler slog.Handler }

func slogLevel(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l == zapcore.WarnLevel:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

func (b *bridge) Enabled(l zapcore.Level) bool {
	return b.handler.Enabled(context.Background(), slogLevel(l))
}

func (b *bridge) With(fields []zapcore.Field) zapcore.Core {
	return &bridge{b.handler.WithAttrs(attrs(fields))}
}

// harmless is what etcd says at every start, about settings that are meant.
var harmless = []string{
	"Running http and grpc server on single port", "exceeded recommended request limit",
	"simple token is not cryptographically signed", "check file permission",
	"Failed to detect schema version", "failed to update storage version", // of an empty store; tried again
}

func (b *bridge) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if slices.ContainsFunc(harmless, func(s string) bool { return strings.HasPrefix(e.Message, s) }) {
		return ce
	}
	if b.Enabled(e.Level) {
		return ce.AddCore(e, b)
	}
	return ce
}

func (b *bridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	r := slog.NewRecord(e.Time, slogLevel(e.Level), "etcd: "+e.Message, 0)
	r.AddAttrs(attrs(fields)...)
	return b.handler.Handle(context.Background(), r)
}

func (b *bridge) Sync() error { return nil }

func attrs(fields []zapcore.Field) []slog.Attr {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(enc)
	}
	out := make([]slog.Attr, 0, len(enc.Fields))
	for _, f := range fields { // in their order
		if v, ok := enc.Fields[f.Key]; ok {
			out = append(out, slog.Any(f.Key, v))
		}
	}
	return out
}
