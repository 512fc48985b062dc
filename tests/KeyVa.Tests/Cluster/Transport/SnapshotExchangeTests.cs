using KeyVa.Cluster.Transport;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Tests.Cluster.Transport;

/// <summary>Snapshot streams over a channel that loses, doubles, delays and damages messages, with time that the test moves: by seed.</summary>
public sealed class SnapshotExchangeTests
{
    [Fact]
    public void StreamsArriveWholeOverAnyChannel()
    {
        for (int seed = 0; seed < 300; seed++)
        {
            Run run = new(seed, loss: seed % 3 == 0 ? 0 : 0.15);
            Assert.True(run.Finish(), $"seed {seed}: the stream did not end");
            Assert.True(run.Done ?? false, $"seed {seed}: the stream failed");
            run.CheckFiles();
        }
    }

    [Fact]
    public void AChannelThatLosesEverythingIsGivenUp()
    {
        Run run = new(1, loss: 1);
        Assert.True(run.Finish());
        Assert.False(run.Done);
        Assert.False(run.Sender.IsActive);
    }

    [Fact]
    public async Task AReceiverWhoseSenderIsGoneGivesUpAndRemovesNothingItself()
    {
        Run run = new(2, loss: 0);
        run.Step();
        run.Step();
        Assert.True(run.Taker.IsActive);
        run.Advance(TimeSpan.FromSeconds(200));
        run.Taker.Pump(run.Now);
        Assert.False(run.Taker.IsActive);
        Assert.False(await run.Folder.Ended);
    }

    [Fact]
    public async Task ASenderThatWasStartedAnewEndsItsFormerStreams()
    {
        Run run = new(3, loss: 0);
        run.Step();
        run.Step();
        Assert.True(run.Taker.IsActive);
        SnapshotOffer offer = new(new byte[] { 1 }, [new OfferedFile("a", 3)]);
        run.Taker.Receive(1, offer.Encode(0x7777_0000_0001), run.Now);
        Assert.False(await run.Folder.Ended);
    }

    [Fact]
    public void TheRateIsKept()
    {
        Run run = new(4, loss: 0, rate: 1 << 20, sizes: [3 << 20]);
        Assert.True(run.Finish());
        Assert.True(run.Done ?? false);
        Assert.InRange(run.DoneAt.TotalSeconds, 2.5, 4);
    }

    [Fact]
    public async Task AFileThatShrankFailsTheStream()
    {
        Run run = new(5, loss: 0, sizes: [3 << 20]);
        using (StorageFile file = run.Source.Open("/source/000000.sst", writable: true))
        {
            file.SetLength(1 << 20);
        }

        Assert.True(run.Finish());
        Assert.False(run.Done);
        Assert.False(await run.Folder.Ended);
    }

    [Theory]
    [InlineData("a/b")]
    [InlineData("..")]
    [InlineData("")]
    [InlineData("a\0")]
    public void NamesThatLeadElsewhereAreRefused(string name)
    {
        Run run = new(6, loss: 0);
        run.Taker.Receive(1, new SnapshotOffer(new byte[] { 1 }, [new OfferedFile(name, 3)]).Encode(99), run.Now);
        Assert.Null(run.Folder.Directory);
        Assert.False(run.Taker.IsActive);
    }

    private sealed class Run
    {
        private readonly Random _random;
        private readonly List<SnapshotFile> _files;
        private readonly Wire _toTaker;
        private readonly Wire _toSender;

        public Run(int seed, double loss, long rate = 0, int[]? sizes = null)
        {
            _random = new Random(seed);
            _files = SnapshotFolder.Make(Source, sizes ?? [.. Enumerable.Range(0, _random.Next(6)).Select(_ => _random.Next(4) == 0 ? 0 : _random.Next(100_000))]);
            Folder = new SnapshotFolder(new MemoryFileSystem());
            SnapshotStreamOptions options = new() { ChunkBytes = rate > 0 ? 64 << 10 : 1 << 12, WindowBytes = rate > 0 ? 1 << 20 : 1 << 15, MaxRepeats = 200, BytesPerSecond = rate };
            _toTaker = new Wire(_random, loss);
            _toSender = new Wire(_random, loss);
            Sender = new SnapshotExchange(_toTaker, Source, options, incarnation: 5);
            Taker = new SnapshotExchange(_toSender, Folder.Files, options, incarnation: 6) { Receiver = Folder };
            Sender.Send(2, new byte[] { 1, 2 }, _files, success =>
            {
                Done = success;
                DoneAt = Now;
            }, Now);
        }

        public MemoryFileSystem Source { get; } = new();

        public SnapshotFolder Folder { get; }

        public SnapshotExchange Sender { get; }

        public SnapshotExchange Taker { get; }

        public TimeSpan Now { get; private set; }

        public bool? Done { get; private set; }

        public TimeSpan DoneAt { get; private set; }

        public void Advance(TimeSpan time) => Now += time;

        public void Step()
        {
            TimeSpan due = Sender.Pump(Now);
            TimeSpan other = Taker.Pump(Now);
            bool moved = _toTaker.Deliver(message => Taker.Receive(1, message, Now));
            moved |= _toSender.Deliver(message => Sender.Receive(2, message, Now));
            if (!moved)
            {
                TimeSpan next = due < other && Sender.IsActive ? due : other;
                Now = next > Now ? next : Now;
            }

            if (_random.Next(200) == 0)
            {
                Sender.PeerUp(2, Now);
            }
        }

        public bool Finish()
        {
            for (int i = 0; i < 200_000 && Done is null; i++)
            {
                Step();
            }

            for (int i = 0; i < 200; i++)
            {
                // What was sent last still arrives.
                Step();
            }

            return Done is not null;
        }

        public void CheckFiles()
        {
            Assert.Equal(_files.Count, Folder.Files.List(Folder.Directory!).Count);
            Assert.All(_files, file => Assert.True(SnapshotFolder.Bytes(Source, file.Path).AsSpan().SequenceEqual(Folder.Read(file.Name))));
        }
    }

    /// <summary>One direction: what is sent lies here until it is delivered, or is lost, doubled, or overtaken.</summary>
    private sealed class Wire(Random random, double loss) : IBulkChannel
    {
        private readonly List<byte[]> _messages = [];

        public bool TrySend(ulong peer, ReadOnlySpan<byte> message)
        {
            if (_messages.Count >= 100)
            {
                return false;
            }

            if (random.NextDouble() >= loss)
            {
                _messages.Add(message.ToArray());
                if (random.NextDouble() < loss / 3)
                {
                    _messages.Insert(random.Next(_messages.Count), message.ToArray());
                }
            }

            return true;
        }

        public bool Deliver(Action<byte[]> take)
        {
            if (_messages.Count == 0)
            {
                return false;
            }

            byte[] first = _messages[0];
            _messages.RemoveAt(0);
            take(first);
            return true;
        }
    }
}
