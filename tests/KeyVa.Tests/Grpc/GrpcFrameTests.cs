using System.Buffers;
using System.IO.Pipelines;
using Google.Protobuf;
using KeyVa.Protocol.Grpc;
using KeyVa.Tests.Grpc.Messages;
using Xunit;

namespace KeyVa.Tests.Grpc;

/// <summary>Frames, timeouts, messages and metadata by themselves.</summary>
public sealed class GrpcFrameTests
{
    [Fact]
    public void ALengthThatGoesBeyondTheMessageIsRefusedHoweverLarge()
    {
        // Found by fuzzing: field 1 of 2^31 - 1 bytes, in a message of 17; the parser of Google.Protobuf looks behind its end.
        foreach (string hex in (string[])["0AFFFFFFFF070A050A036B6579", "0AFFFFFFFF070AFFFFFFFF07", "0A7F01"])
        {
            byte[] payload = Convert.FromHexString(hex);
            ReadOnlySequence<byte> frame = new([0, 0, 0, 0, (byte)payload.Length, .. payload]);
            GrpcException refused = Assert.Throws<GrpcException>(() => GrpcFrame.TryRead(ref frame, KeyVa.Protocol.V1.UpsertRequest.Parser, 1 << 20, false, out _));
            Assert.Contains("malformed protobuf message", refused.Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task FramesSurviveAnySplit(bool gzip)
    {
        int seed = Environment.TickCount;
        Random random = new(seed);
        for (int round = 0; round < 50; round++)
        {
            List<EchoRequest> sent = [.. Enumerable.Range(0, random.Next(20)).Select(_ => new EchoRequest
            {
                Payload = ByteString.CopyFrom(new byte[random.Next(random.Next(2) == 0 ? 50 : 20_000)]),
                Text = new string('t', random.Next(5)),
            })];
            ArrayBufferWriter<byte> wire = new();
            int counted = sent.Sum(message => GrpcFrame.Write(wire, message, gzip));
            Assert.Equal(wire.WrittenCount, counted);
            Pipe pipe = new(new PipeOptions(pauseWriterThreshold: 0, minimumSegmentSize: 16));
            Task feeding = FeedAsync(pipe.Writer, wire.WrittenMemory, random.Next());
            GrpcMessageReader<EchoRequest> reader = new(pipe.Reader, EchoRequest.Parser, 30_000, gzip);
            List<EchoRequest> got = [];
            while (await reader.ReadAsync(CancellationToken.None) is { } message)
                got.Add(message);
            Assert.Null(await reader.ReadAsync(CancellationToken.None));
            reader.Release();
            await feeding;
            Assert.True(sent.SequenceEqual(got), $"seed {seed}, round {round}");
        }
    }

    // Kestrel's response writer does this once the caller is gone; protobuf never says how much it wants, and asked for ever.
    [Theory]
    [InlineData(100)]
    [InlineData(5_000)]
    [InlineData(1_000_000)]
    public void AMessageIsWrittenToAWriterThatGivesNothingToWhoeverDoesNotSayHowMuch(int bytes)
    {
        ExactWriter output = new();
        EchoRequest message = new() { Payload = ByteString.CopyFrom(new byte[bytes]) };
        Assert.Equal(GrpcFrame.Write(output, message, gzip: false), output.Written);
    }

    [Fact]
    public void AnOversizedFrameIsRefusedByItsPrefixAlone()
    {
        ReadOnlySequence<byte> prefix = new([0, 0, 0, 0, 101]);
        GrpcException refused = Assert.Throws<GrpcException>(
            () => GrpcFrame.TryRead(ref prefix, EchoRequest.Parser, 100, false, out _));
        Assert.Equal(GrpcStatusCode.ResourceExhausted, refused.Code);
        ReadOnlySequence<byte> fits = new([0, 0, 0, 0, 100]);
        Assert.False(GrpcFrame.TryRead(ref fits, EchoRequest.Parser, 100, false, out _));
    }

    [Theory]
    [InlineData("1H", 3_600_000)]
    [InlineData("2M", 120_000)]
    [InlineData("3S", 3_000)]
    [InlineData("4m", 4)]
    [InlineData("5000u", 5)]
    [InlineData("6000000n", 6)]
    [InlineData("00000000S", 0)]
    public void TimeoutsAreRead(string text, int milliseconds)
    {
        Assert.True(GrpcTimeout.TryParse(text, out TimeSpan timeout));
        Assert.Equal(TimeSpan.FromMilliseconds(milliseconds), timeout);
    }

    [Theory]
    [InlineData("")]
    [InlineData("1")]
    [InlineData("H")]
    [InlineData(" 1H")]
    [InlineData("+1H")]
    [InlineData("1.5S")]
    [InlineData("١S")]
    [InlineData("100000000S")]
    public void OtherTimeoutsAreNot(string text) => Assert.False(GrpcTimeout.TryParse(text, out _));

    [Fact]
    public void TimeoutsAreWrittenInEightDigitsAndNeverShorter()
    {
        int seed = Environment.TickCount;
        Random random = new(seed);
        for (int i = 0; i < 1000; i++)
        {
            TimeSpan timeout = TimeSpan.FromTicks(random.NextInt64(1L << random.Next(1, 60)));
            string text = GrpcTimeout.Format(timeout);
            Assert.True(GrpcTimeout.TryParse(text, out TimeSpan read), $"seed {seed}: {text}");
            Assert.True(read >= timeout && read - timeout <= timeout / 50_000 + TimeSpan.FromMicroseconds(1),
                $"seed {seed}: {timeout} became {text}");
        }
    }

    [Theory]
    [InlineData("plain text", "plain text")]
    [InlineData("100%", "100%25")]
    [InlineData("a\nb", "a%0Ab")]
    [InlineData("ü", "%C3%BC")]
    [InlineData("", "")]
    public void MessagesArePercentEncoded(string text, string encoded)
    {
        Assert.Equal(encoded, PercentEncoding.Encode(text));
        Assert.Equal(text, PercentEncoding.Decode(encoded));
    }

    [Theory]
    [InlineData("%", "%")]
    [InlineData("%4", "%4")]
    [InlineData("%zz%41", "%zzA")]
    public void BrokenPercentEncodingIsLeftAlone(string encoded, string text) => Assert.Equal(text, PercentEncoding.Decode(encoded));

    [Theory]
    [InlineData("Upper", "x")]
    [InlineData("grpc-status", "0")]
    [InlineData("bytes-bin", "x")]
    [InlineData("key", "line\nbreak")]
    [InlineData("key", "ü")]
    [InlineData("", "x")]
    [InlineData("sp ace", "x")]
    public void MetadataThatCannotTravelIsRefused(string key, string value)
        => Assert.ThrowsAny<ArgumentException>(() => new GrpcMetadata().Add(key, value));

    [Fact]
    public void BinaryMetadataTakesPaddedAndJoinedValues()
    {
        GrpcMetadata metadata = [];
        metadata.AddReceived("A-Bin", "AQI=,AQI");
        Assert.Equal(2, metadata.Count);
        Assert.Equal([1, 2], metadata.GetBytes("a-bin")!);
        Assert.All(metadata, entry => Assert.Equal("a-bin", entry.Key));
    }

    private static async Task FeedAsync(PipeWriter writer, ReadOnlyMemory<byte> bytes, int seed)
    {
        Random random = new(seed);
        while (!bytes.IsEmpty)
        {
            int count = Math.Min(bytes.Length, random.Next(1, random.Next(2) == 0 ? 8 : 10_000));
            await writer.WriteAsync(bytes[..count]);
            bytes = bytes[count..];
            await Task.Yield();
        }
        await writer.CompleteAsync();
    }

    /// <summary>Gives exactly as much as asked for: nothing, where nothing is.</summary>
    private sealed class ExactWriter : IBufferWriter<byte>
    {
        private const int MostRequests = 10_000;

        private int _requests;

        public int Written { get; private set; }

        public void Advance(int count) => Written += count;

        public Memory<byte> GetMemory(int sizeHint = 0) =>
            ++_requests > MostRequests ? throw new InvalidOperationException("asked for ever") : new byte[sizeHint];

        public Span<byte> GetSpan(int sizeHint = 0) => GetMemory(sizeHint).Span;
    }
}
