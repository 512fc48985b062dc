using KeyVa.Cluster.Transport;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Fuzz;

/// <summary>What other nodes send: greetings, their answers and the messages of snapshot streams are read or dropped, and a stream's receiver writes nothing but what was offered.</summary>
public sealed class TransportFuzzTests : Fuzzing
{
    [Fact]
    public void MessagesAreReadOrDropped() => Run(40_000, Messages(), static (input, random) =>
    {
        byte[] message = [.. input];
        if (message.Length >= TransportMessage.HeaderBytes && random.Next(4) > 0)
        {
            // As if sent so: what stands behind the checksum is looked at.
            TransportMessage.Seal(message, (MessageKind)random.Next((int)MessageKind.Hello, (int)MessageKind.Snapshot + 1));
        }

        MessageFault fault = TransportMessage.Open(message, out MessageKind kind);
        if (Hello.TryRead(message, out Hello hello))
        {
            byte[] again = new byte[Hello.MessageBytes];
            hello.Write(again);
            Assert.True(again.AsSpan(TransportMessage.HeaderBytes).SequenceEqual(message.AsSpan(TransportMessage.HeaderBytes)));
        }

        if (fault == MessageFault.None && HelloAnswer.TryRead(message, kind, out HelloAnswer answer))
        {
            byte[] again = new byte[HelloAnswer.MessageBytes];
            answer.Write(again);
            Assert.True(TransportMessage.Open(again, out _) == MessageFault.None);
        }
    });

    [Fact]
    public void OffersAreReadOrRefused() => Run(40_000, [Offer(0), Offer(1), Offer(30)], static (input, _) =>
    {
        if (SnapshotOffer.TryDecode(input, out SnapshotOffer? offer))
        {
            Assert.All(offer.Files, static file => Assert.True(file.Bytes >= 0 && file.Name.Length > 0 && !file.Name.Contains('/', StringComparison.Ordinal)));
            Assert.Equal(offer.Files.Count, offer.Files.Select(static file => file.Name).Distinct().Count());
            Assert.Equal(input.AsSpan(SnapshotMessage.HeaderBytes), offer.Encode(7).AsSpan(SnapshotMessage.HeaderBytes));
        }
    });

    [Fact]
    public void AReceiverTakesWhatWasOffered() => Run(5_000, [Offer(3)], static (input, random) =>
    {
        MemoryFileSystem files = new();
        Folder folder = new(files);
        SnapshotExchange exchange = new(new Nobody(), files, new SnapshotStreamOptions { WindowBytes = 1 << 12 }, incarnation: 1) { Receiver = folder };
        TimeSpan now = TimeSpan.Zero;
        byte[] offer = random.Next(4) == 0 ? input : Offer(3);
        exchange.Receive(1, offer, now);
        byte[] message = new byte[200];
        for (int i = 0; i < 50; i++)
        {
            random.NextBytes(message);
            SnapshotMessage.WriteHeader(message, (SnapshotMessageKind)random.Next(1, 10), random.Next(8) == 0 ? 8UL : 7UL);
            // Mostly where the stream is, now and then anywhere.
            BitConverter.TryWriteBytes(message.AsSpan(SnapshotMessage.HeaderBytes), random.Next(3) == 0 ? random.NextInt64() : random.Next(100));
            exchange.Receive((ulong)random.Next(1, 3), message.AsSpan(0, random.Next(4) == 0 ? random.Next(message.Length) : SnapshotMessage.ChunkHeaderBytes + random.Next(60)), now);
            now += TimeSpan.FromSeconds(random.Next(3));
            exchange.Pump(now);
        }

        exchange.Close();
        Assert.False(exchange.IsActive);
        foreach (string name in files.List("/in"))
        {
            using StorageFile file = files.Open($"/in/{name}", writable: false);
            Assert.True(SnapshotOffer.TryDecode(offer, out SnapshotOffer? offered) && file.Length <= offered.Files.Single(one => one.Name == name).Bytes);
        }
    });

    private static byte[][] Messages()
    {
        byte[] hello = new byte[Hello.MessageBytes];
        new Hello(1, 2, Guid.NewGuid(), 3, 4, Lane.Snapshots).Write(hello);
        byte[] welcome = new byte[HelloAnswer.MessageBytes];
        new HelloAnswer(4, Refusal.None, 9).Write(welcome);
        byte[] refused = new byte[HelloAnswer.MessageBytes];
        new HelloAnswer(4, Refusal.Cluster, 0).Write(refused);
        return [hello, welcome, refused, new byte[TransportMessage.HeaderBytes]];
    }

    private static byte[] Offer(int files) =>
        new SnapshotOffer(new byte[] { 1, 2, 3 }, [.. Enumerable.Range(0, files).Select(static i => new OfferedFile($"{i:D6}.sst", i * 40))]).Encode(7);

    private sealed class Nobody : IBulkChannel
    {
        public bool TrySend(ulong peer, ReadOnlySpan<byte> message) => true;
    }

    private sealed class Folder : ISnapshotReceiver
    {
        private readonly MemoryFileSystem _files;

        public Folder(MemoryFileSystem files)
        {
            _files = files;
            files.CreateDirectory("/in");
        }

        public string? Begin(ulong peer, ReadOnlySpan<byte> head) => _files.List("/in").Count == 0 ? "/in" : null;

        public bool End(ulong peer, string directory, bool complete) => complete;
    }
}
