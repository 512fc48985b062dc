using System.IO.Pipelines;
using Google.Protobuf;
using KeyVa.Protocol.V1;
using KeyVa.Server;
using Xunit;

namespace KeyVa.Tests.Server;

public sealed class ProtoRecordTests
{
    /// <summary>Kestrel answers so once the client is gone; protobuf's own writer ran beyond the memory it was not given.</summary>
    [Fact]
    public void AnOutputThatGivesOnlyWhatIsAskedForIsEnough()
    {
        ScanResponse message = new() { Resume = ByteString.CopyFrom(new byte[10_000]) };
        ExactOutput output = new();
        ProtoRecord.WriteTo(message, output);
        Assert.Equal(message.CalculateSize(), output.Advanced);
    }

    private sealed class ExactOutput : PipeWriter
    {
        public int Advanced { get; private set; }

        public override void Advance(int bytes) => Advanced += bytes;

        public override Memory<byte> GetMemory(int sizeHint = 0) => new byte[sizeHint];

        public override Span<byte> GetSpan(int sizeHint = 0) => new byte[sizeHint];

        public override void CancelPendingFlush()
        {
        }

        public override void Complete(Exception? exception = null)
        {
        }

        public override ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default) => default;
    }
}
