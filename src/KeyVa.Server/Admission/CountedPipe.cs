using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using PipeResult = System.IO.Pipelines.ReadResult;

namespace KeyVa.Server.Admission;

/// <summary>
/// The pipes of a connection, with the bytes that go through them told: those taken of what was received, and those sent. Used only where bytes are limited, since each
/// read and write goes through it. One reader and one writer at a time.
/// </summary>
internal sealed class CountedPipe(IDuplexPipe inner, Action<long> count) : IDuplexPipe
{
    public PipeReader Input { get; } = new CountedReader(inner.Input, count);

    public PipeWriter Output { get; } = new CountedWriter(inner.Output, count);

    private sealed class CountedReader(PipeReader inner, Action<long> count) : PipeReader
    {
        private PipeResult _read;

        public override bool TryRead(out PipeResult result)
        {
            bool isRead = inner.TryRead(out result);
            _read = isRead ? result : _read;
            return isRead;
        }

        public override ValueTask<PipeResult> ReadAsync(CancellationToken cancellationToken = default)
        {
            ValueTask<PipeResult> read = inner.ReadAsync(cancellationToken);
            return read.IsCompletedSuccessfully ? new ValueTask<PipeResult>(_read = read.Result) : ReadLaterAsync(read);
        }

        public override void AdvanceTo(SequencePosition consumed) => AdvanceTo(consumed, consumed);

        public override void AdvanceTo(SequencePosition consumed, SequencePosition examined)
        {
            long taken = _read.Buffer.Slice(0, consumed).Length;
            _read = default;
            inner.AdvanceTo(consumed, examined);
            if (taken > 0)
            {
                count(taken);
            }
        }

        [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
        private async ValueTask<PipeResult> ReadLaterAsync(ValueTask<PipeResult> read) => _read = await read;

        public override void CancelPendingRead() => inner.CancelPendingRead();

        public override void Complete(Exception? exception = null) => inner.Complete(exception);

        public override ValueTask CompleteAsync(Exception? exception = null) => inner.CompleteAsync(exception);
    }

    private sealed class CountedWriter(PipeWriter inner, Action<long> count) : PipeWriter
    {
        private long _written;

        public override bool CanGetUnflushedBytes => inner.CanGetUnflushedBytes;

        public override long UnflushedBytes => inner.UnflushedBytes;

        public override void Advance(int bytes)
        {
            _written += bytes;
            inner.Advance(bytes);
        }

        public override Memory<byte> GetMemory(int sizeHint = 0) => inner.GetMemory(sizeHint);

        public override Span<byte> GetSpan(int sizeHint = 0) => inner.GetSpan(sizeHint);

        public override ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default)
        {
            Tell();
            return inner.FlushAsync(cancellationToken);
        }

        public override ValueTask<FlushResult> WriteAsync(ReadOnlyMemory<byte> source, CancellationToken cancellationToken = default)
        {
            _written += source.Length;
            Tell();
            return inner.WriteAsync(source, cancellationToken);
        }

        public override void CancelPendingFlush() => inner.CancelPendingFlush();

        public override void Complete(Exception? exception = null)
        {
            Tell();
            inner.Complete(exception);
        }

        private void Tell()
        {
            if (_written > 0)
            {
                count(_written);
                _written = 0;
            }
        }
    }
}
