using System.Runtime.InteropServices;
using KeyVa.Cluster;
using KeyVa.Cluster.Changes;
using KeyVa.Cluster.Driver;
using KeyVa.Cluster.Wire;
using KeyVa.Raft;
using Xunit;

namespace KeyVa.Tests.Cluster;

/// <summary>What nodes say to each other comes out as it went in, and bytes that were never a frame do no harm.</summary>
public sealed class FrameTests
{
    private const ulong Cluster = 77;

    [Fact]
    public void EveryItemComesOutAsItWentIn()
    {
        FrameWriter writer = Written();
        Assert.True(FrameReader.TryOpen(writer.Written.ToArray(), Cluster, 2, 1, out FrameReader reader));
        Assert.Equal((5ul, 1ul), (reader.Life, reader.Number));
        List<FrameItem> items = ReadAll(ref reader);
        Assert.True(reader.IsIntact);
        Assert.Equal([5, 7, 10, 32, 33, 34, 35, 36, 48, 37, 38, 49], items.Select(static item => (int)item.Kind));
        Message append = items[0].Message;
        Assert.Equal((MessageKind.Append, 2L, 1L, 4L, 3L, 10L, 9L), (append.Kind, append.From, append.To, append.Term, append.LogTerm, append.Index, append.Commit));
        Assert.Equal([(11L, EntryKind.Command), (12L, EntryKind.Empty), (13L, EntryKind.Membership)], append.Entries.ToArray().Select(static entry => (entry.Index, entry.Kind)));
        Assert.Equal(Data(), append.Entries.Span[0].Data.ToArray());
        Assert.Equal((true, 6L, 8L), (items[1].Message.Quiesce, items[1].Message.Context, items[1].Message.Index));
        Assert.Equal((4L, 99L, 3, "payload"), (items[3].Term, items[3].Group, items[3].Early, System.Text.Encoding.ASCII.GetString(items[3].Bytes.Span)));
        Assert.Equal((4L, 98L, ForwardRefusal.NotNow, 3L), (items[4].Term, items[4].Group, items[4].Reason, items[4].Leader));
        Assert.Equal(new EarlyReply(4, 99, 14, 1000, IsOnLeader: true, Others: 2), items[5].Reply);
        Assert.Equal(4L, items[6].Term);
        Assert.Equal((4L, 20L), (items[7].Term, items[7].Index));
        Assert.Equal([19L, 7L], items[7].Matches.ToArray());
        Assert.Equal((3L, 55L, new ChangeRequest(ChangeKind.Remove, 9)), (items[9].Partition, items[9].Group, items[9].Change));
        Assert.Equal((55L, ChangeOutcome.CatchingUp, 2L, 70L), (items[10].Group, items[10].Answer.Outcome, items[10].Answer.Leader, items[10].Answer.CommitIndex));
        Assert.Equal([new MemberProgress(1, 69), new MemberProgress(9, 5)], items[10].Answer.Members);
        Assert.True(items[11].IsAnswer);
        Assert.Equal("layout", System.Text.Encoding.ASCII.GetString(items[11].Bytes.Span));
        writer.Clear();
        Assert.True(writer.IsEmpty);
        Assert.True(FrameReader.TryOpen(writer.Written.ToArray(), Cluster, 2, 1, out reader));
        Assert.Equal(2ul, reader.Number);
    }

    [Fact] // A log has its entries for long, and of a partition where little happens for longer than of those whose bytes came with them
    public void EntriesKeepNoFrameThatIsMuchLarger()
    {
        FrameWriter writer = new(Cluster, life: 5);
        writer.Add(1, Append(11, new byte[100_000]));
        writer.Add(2, Append(21, Data(), Data()));
        writer.Add(3, new Message { Kind = MessageKind.Heartbeat, To = 1, Term = 4, Context = 6 });
        Assert.True(FrameReader.TryOpen(writer.Written.ToArray(), Cluster, 2, 1, out FrameReader reader));
        List<FrameItem> items = ReadAll(ref reader);
        Assert.True(reader.IsIntact);
        Assert.Equal([5, 5, 7], items.Select(static item => (int)item.Kind));
        foreach (FrameItem item in items.Take(2))
        {
            HashSet<byte[]> held = [];
            long bytes = 0;
            foreach (Entry entry in item.Message.Entries.Span)
            {
                Assert.True(MemoryMarshal.TryGetArray(entry.Data, out ArraySegment<byte> segment));
                held.Add(segment.Array!);
                bytes += entry.Size;
            }

            Assert.InRange(held.Sum(static array => array.Length), 0, 2 * bytes);
        }

        Assert.All(items[1].Message.Entries.ToArray(), static entry => Assert.Equal(Data(), entry.Data.ToArray()));
        Assert.Equal([21L, 22L], items[1].Message.Entries.ToArray().Select(static entry => entry.Index));
    }

    [Fact]
    public void AFrameOfAnotherClusterOrVersionIsNone()
    {
        byte[] frame = Written().Written.ToArray();
        Assert.False(FrameReader.TryOpen(frame, Cluster + 1, 2, 1, out _));
        frame[0]++;
        Assert.False(FrameReader.TryOpen(frame, Cluster, 2, 1, out _));
        Assert.False(FrameReader.TryOpen(ReadOnlyMemory<byte>.Empty, Cluster, 2, 1, out _));
    }

    [Fact]
    public void AFrameThatIsCutAnywhereIsReadUpToThere()
    {
        byte[] frame = Written().Written.ToArray();
        int whole = 0;
        for (int length = FrameFormat.HeadBytes; length < frame.Length; length++)
        {
            Assert.True(FrameReader.TryOpen(frame.AsMemory(0, length), Cluster, 2, 1, out FrameReader reader));
            int items = ReadAll(ref reader).Count;
            Assert.True(items < 12);
            whole += reader.IsIntact ? 1 : 0;
        }

        // Where one item ends and the next has not begun.
        Assert.Equal(12, whole);
    }

    [Fact]
    public void BytesOfAnyKindDoNoHarm()
    {
        byte[] frame = Written().Written.ToArray();
        Random random = new(1);
        for (int round = 0; round < 20_000; round++)
        {
            byte[] bytes = (byte[])frame.Clone();
            for (int changes = random.Next(1, 6); changes > 0; changes--)
            {
                bytes[random.Next(FrameFormat.HeadBytes, bytes.Length)] = (byte)random.Next(256);
            }

            Assert.True(FrameReader.TryOpen(bytes, Cluster, 2, 1, out FrameReader reader));
            foreach (FrameItem item in ReadAll(ref reader))
            {
                Assert.True(item.Message.Entries.Length <= bytes.Length && item.Bytes.Length <= bytes.Length);
            }
        }
    }

    [Fact]
    public void OfTwoEntriesOfABookTheNewerCounts()
    {
        AddressBook one = new();
        AddressBook other = new();
        Assert.True(one.Learn(1, new AddressBook.Entry(5, new ClusterPeer("a", 1), "r", "d", "c", "s")));
        Assert.True(other.Learn(1, new AddressBook.Entry(6, new ClusterPeer("b", 2))));
        Assert.True(one.Merge(other.Encode()));
        Assert.Equal("b:2", one.Find(1)!.Peer.ToString());
        Assert.False(other.Merge(one.Encode()));
        byte[] bytes = one.Encode();
        for (int length = 0; length < bytes.Length; length++)
        {
            Assert.False(new AddressBook().Merge(bytes.AsSpan(0, length)));
        }
    }

    [Theory]
    [InlineData("127.0.0.1:7404", true)]
    [InlineData("[::1]:7404", true)]
    [InlineData("node-1.example:65535", true)]
    [InlineData("::1:7404", false)]
    [InlineData("host:0", false)]
    [InlineData("host", false)]
    [InlineData(":1", false)]
    [InlineData("host:1/short", false)]
    public void PeersAreReadAsTheyAreWritten(string text, bool isPeer)
    {
        Assert.Equal(isPeer, ClusterPeer.TryParse(text, out ClusterPeer? peer));
        Assert.Equal(isPeer ? text : null, peer?.ToString());
    }

    private static List<FrameItem> ReadAll(ref FrameReader reader)
    {
        List<FrameItem> items = [];
        while (reader.TryRead(out FrameItem item))
        {
            items.Add(item);
        }

        return items;
    }

    private static Message Append(long index, params byte[][] entries) => new()
    {
        Kind = MessageKind.Append,
        To = 1,
        Term = 4,
        LogTerm = 3,
        Index = index - 1,
        Entries = entries.Select((data, i) => new Entry(4, index + i, EntryKind.Command, data)).ToArray(),
    };

    private static byte[] Data()
    {
        byte[] data = new byte[40];
        KeyVa.Cluster.Driver.CommandEntry.WriteHead(data, 1, 2);
        return data;
    }

    private static FrameWriter Written()
    {
        FrameWriter writer = new(Cluster, life: 5);
        writer.Add(1, new Message
        {
            Kind = MessageKind.Append,
            To = 1,
            Term = 4,
            LogTerm = 3,
            Index = 10,
            Commit = 9,
            Entries = new Entry[]
            {
                new(4, 11, EntryKind.Command, Data()),
                new(4, 12, EntryKind.Empty, default),
                new(4, 13, EntryKind.Membership, MembershipEncoding.Encode(new Membership([1, 2, 3]))),
            },
        });
        writer.Add(1, new Message { Kind = MessageKind.Heartbeat, To = 1, Term = 4, Context = 6, Index = 8, Quiesce = true });
        writer.Add(2, new Message { Kind = MessageKind.TimeoutNow, To = 1, Term = 4 });
        writer.AddForward(1, 4, 99, 3, "payload"u8);
        writer.AddRefused(1, 4, 98, ForwardRefusal.NotNow, 3);
        writer.AddTold(1, new EarlyReply(4, 99, 14, 1000, IsOnLeader: true, Others: 2));
        writer.AddAsk(1, 4);
        MatchIndexes matches = new();
        matches.Take(4, 20, [19, 7]);
        writer.AddMatches(1, matches);
        AddressBook book = new();
        book.Learn(1, new AddressBook.Entry(1, new ClusterPeer("host", 7404)));
        writer.AddBook(book.Encode());
        writer.AddChange(3, 55, new ChangeRequest(ChangeKind.Remove, 9));
        writer.AddChanged(3, 55, new ChangeAnswer(ChangeOutcome.CatchingUp, 2, 70, [new MemberProgress(1, 69), new MemberProgress(9, 5)]));
        writer.AddLayout("layout"u8, isAnswer: true);
        return writer;
    }
}
