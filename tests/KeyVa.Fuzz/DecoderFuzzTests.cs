using System.Buffers;
using System.Text;
using Google.Protobuf;
using KeyVa.Engines.Lsm;
using KeyVa.Io;
using KeyVa.Log;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;
using Xunit;

namespace KeyVa.Fuzz;

/// <summary>
/// Decoders by themselves, with what has passed its checksum: an answer or a refusal; and what was decoded says the same
/// when it is encoded and decoded again.
/// </summary>
public sealed unsafe class DecoderFuzzTests : Fuzzing
{
    private const string Name = "file";

    private static readonly byte[][] Properties = [Encoded(TableWith(0)), Encoded(TableWith(40)), [.. Encoded(TableWith(9)), 200, 1, 3, 1, 2, 3]];

    private static readonly byte[][] Edits = [Encoded(EditWith(0, 1)), Encoded(EditWith(2, 0)), Encoded(EditWith(5, 4))];

    private static readonly byte[][] Manifests = [ManifestWith(Edits[..1]), ManifestWith([Edits[1], Edits[0]])];

    private static readonly byte[][] MetaIndexes = [MetaWith(default, 0), MetaWith(new BlockPlace(10_300, 50), 4), MetaWith(new BlockPlace(10_300, 1), 31)];

    [Fact]
    public void PropertiesAreReadOrRefused() => Run(60_000, Properties, static (input, _) =>
    {
        if (TableProperties.TryDecode(input) is { } read)
        {
            byte[] again = Encoded(read);
            TableProperties? second = TableProperties.TryDecode(again);
            Assert.NotNull(second);
            Assert.Equal(again, Encoded(second));
        }
    });

    [Fact]
    public void EditsAreReadOrRefused() => Run(60_000, Edits, static (input, _) =>
    {
        if (ManifestEdit.TryDecode(input) is { } read)
        {
            byte[] again = Encoded(read);
            ManifestEdit? second = ManifestEdit.TryDecode(again);
            Assert.NotNull(second);
            Assert.Equal(again, Encoded(second));
            new ManifestState().TryApply(read);
        }
    });

    [Fact]
    public void ManifestsAreReadOrRefused() => Run(40_000, Manifests, static (input, random) =>
    {
        byte[] bytes = [.. input];
        if (random.Next(4) > 0)
        {
            Checksums.RepairManifest(bytes);
        }

        try
        {
            ManifestState state = Manifest.Replay(bytes, Name);
            state.FillFromLastLevel();
            Assert.NotNull(ManifestEdit.TryDecode(Encoded(state.ToEdit())));
        }
        catch (StoreException)
        {
            // Refused.
        }
    });

    [Fact]
    public void CurrentsAreReadOrRefused() => Run(20_000, [Encoding.ASCII.GetBytes("MANIFEST-000001 00000000\n"), Encoding.ASCII.GetBytes("MANIFEST-9223372036854775807 00000000\n")], static (input, random) =>
    {
        byte[] bytes = [.. input];
        if (random.Next(8) > 0)
        {
            Checksums.Repair(FileNames.Current, bytes, []);
        }

        MemoryFileSystem files = new();
        files.CreateDirectory("/d");
        using (StorageFile file = files.Create($"/d/{FileNames.Current}"))
        {
            file.Write(0, bytes);
        }

        // The manifest that it names is never there.
        Assert.Throws<CorruptionException>(() => Manifest.Read(files, "/d"));
    });

    [Fact]
    public void MetaIndexesAreReadOrRefused() => Run(60_000, MetaIndexes, static (input, _) =>
    {
        BlockPlace self = new(10_500, input.Length);
        try
        {
            TableLayout layout = MetaIndex.Decode(input, Name, self);
            Assert.True(layout.Index.End <= self.Offset && layout.Filter.End <= self.Offset && layout.Properties.End <= self.Offset && layout.Dictionary.End <= self.Offset + BlockFormat.TrailerBytes);
        }
        catch (StoreException)
        {
            // Refused.
        }
    });

    [Fact]
    public void FootersAreReadOrRefused() => Run(60_000, [Footer()], static (input, random) =>
    {
        byte[] footer = new byte[TableFooter.Bytes];
        input.AsSpan(0, Math.Min(input.Length, footer.Length)).CopyTo(footer);
        if (random.Next(4) > 0)
        {
            Checksums.RepairTable(footer, []);
        }

        try
        {
            bool whole = TableFooter.TryDecodeWhole(footer, Name, 4096, out TableLayout layout, out BlockPlace meta);
            Assert.True(whole ? layout.Index.Exists && layout.Properties.End <= 4096 : meta.Exists && meta.End <= 4096);
        }
        catch (StoreException)
        {
            // Refused.
        }
    });

    [Fact]
    public void IndexBlocksStayInsideTheirBytes() => Run(60_000, [Index(1), Index(30)], static (input, random) =>
    {
        // Just as long as the bytes: what lies behind them is somebody else's.
        byte* data = (byte*)System.Runtime.InteropServices.NativeMemory.Alloc((nuint)input.Length + 1);
        try
        {
            input.CopyTo(new Span<byte>(data, input.Length));
            if (IndexBlock.TryParse(data, input.Length, out IndexBlock index) && index.IsSound(0, 1 << 20))
            {
                byte[] key = Encoding.UTF8.GetBytes($"key{random.Next(40):D4}");
                fixed (byte* p = key)
                {
                    Assert.InRange(index.Find(p, key.Length, random.Next(100)), 0, index.Count);
                }

                for (int i = 0; i < index.Count; i++)
                {
                    Assert.True(index.Length(i) > 0 && index.Offset(i) >= 0 && index.Offset(i + 1) <= 1 << 20);
                    Assert.True(index.Separator(i).Length <= input.Length);
                }
            }
        }
        finally
        {
            System.Runtime.InteropServices.NativeMemory.Free(data);
        }
    });

    [Fact]
    public void SegmentHeadersAndGroupsAreReadOrRefused() => Run(40_000, [Segment(1), Segment(3)], static (input, random) =>
    {
        byte[] bytes = [.. input];
        if (random.Next(8) > 0)
        {
            Checksums.RepairJournal(bytes);
        }

        try
        {
            if (!JournalFormat.TryReadSegmentHeader(bytes, Name, out SegmentHeader header))
            {
                return;
            }

            MemoryFileSystem files = new();
            files.CreateDirectory("/j");
            using StorageFile file = files.Create("/j/s");
            file.Write(0, bytes);
            using GroupScanner scanner = new();
            scanner.Begin(file, header, bytes.Length);
            Records visitor = new() { Most = bytes.Length };
            while (scanner.TryNext())
            {
                scanner.ReadRecords(ref visitor);
            }

            Assert.True(scanner.Position <= bytes.Length);
        }
        catch (StoreException)
        {
            // Of a later version.
        }
    });

    [Fact]
    public void MessagesInGrpcFramesAreReadOrRefused() => Run(40_000, [.. Messages().Select(Frame)], static (input, random) =>
    {
        ReadFrames(input, UpsertRequest.Parser, random.Next(2) == 0);
        ReadFrames(input, WriteRequest.Parser, false);
        ReadFrames(input, GetRequest.Parser, false);
        ReadFrames(input, RemoveRequest.Parser, false);
        ReadFrames(input, ScanRequest.Parser, false);
    });

    [Fact]
    public void PercentAndTimeoutsOfGrpcAreReadOrRefused() => Run(60_000, [.. new[] { "a%20b%C3%BC", "%", "%zz", "100m", "99999999H", "1n" }.Select(Encoding.ASCII.GetBytes)], static (input, _) =>
    {
        string text = Encoding.Latin1.GetString(input);
        Assert.True(PercentEncoding.Decode(text).Length <= text.Length);
        Assert.True(!GrpcTimeout.TryParse(text, out TimeSpan timeout) || timeout >= TimeSpan.Zero);
    });

    private static void ReadFrames<T>(byte[] input, MessageParser<T> parser, bool gzip)
        where T : class, IMessage<T>
    {
        ReadOnlySequence<byte> rest = new(input);
        try
        {
            for (long before = rest.Length + 1; rest.Length < before && GrpcFrame.TryRead(ref rest, parser, 1 << 20, gzip, out T? message);)
            {
                before = rest.Length;
                T second = parser.ParseFrom(message!.ToByteArray());
                Assert.Equal(message, second);
            }
        }
        catch (GrpcException refused)
        {
            Assert.NotEqual(GrpcStatusCode.Ok, refused.Code);
        }
    }

    private static IMessage[] Messages() =>
    [
        new UpsertRequest { Puts = { new Put { Key = ByteString.CopyFromUtf8("key"), Value = ByteString.CopyFromUtf8("value") } } },
        new GetRequest { Keys = { ByteString.CopyFromUtf8("key"), ByteString.CopyFromUtf8("other") } },
        new RemoveRequest { Removals = { new Removal { Key = ByteString.CopyFromUtf8("key") } } },
        new WriteRequest(),
        new ScanRequest(),
    ];

    private static byte[] Frame(IMessage message)
    {
        byte[] body = message.ToByteArray();
        return [0, 0, 0, (byte)(body.Length >> 8), (byte)body.Length, .. body];
    }

    private static byte[] Encoded(TableProperties properties)
    {
        using NativeBuffer buffer = new();
        properties.Encode(buffer);
        return buffer.Written.ToArray();
    }

    private static byte[] Encoded(ManifestEdit edit)
    {
        using NativeBuffer buffer = new();
        edit.Encode(buffer);
        return buffer.Written.ToArray();
    }

    private static TableProperties TableWith(int keyBytes) => new()
    {
        Entries = 10 + keyBytes,
        MinVersion = 1,
        MaxVersion = 1L << 40,
        VersionBase = 1,
        StampBase = 1_700_000_000_000,
        Smallest = [.. Enumerable.Repeat((byte)'a', keyBytes)],
        Largest = [.. Enumerable.Repeat((byte)'z', keyBytes)],
    };

    private static ManifestEdit EditWith(int tables, int removed)
    {
        ManifestEdit edit = new() { NextId = 100, Mark = new LogMark(5, 6, 1_700_000_000_000) };
        for (int i = 0; i < tables; i++)
        {
            edit.Added.Add(new ManifestTable(i % Superversion.Levels, 10 + i, 4096, TableWith(i)));
        }

        for (int i = 0; i < removed; i++)
        {
            edit.Removed.Add((i % Superversion.Levels, 200 + i));
        }

        edit.Pointers.Add((1, "pointer"u8.ToArray()));
        return edit;
    }

    private static byte[] ManifestWith(byte[][] edits)
    {
        using NativeBuffer bytes = new();
        bytes.AppendInt64(0x3130_4E41_4D53_564B);
        bytes.AppendUInt32(1);
        bytes.AppendUInt32(0);
        foreach (byte[] edit in edits)
        {
            bytes.AppendUInt32((uint)edit.Length);
            bytes.AppendUInt32(0);
            bytes.Append(edit);
        }

        byte[] manifest = bytes.Written.ToArray();
        Checksums.RepairManifest(manifest);
        return manifest;
    }

    private static byte[] MetaWith(BlockPlace dictionary, uint compressions)
    {
        BlockPlace index = new(10_000, 95);
        BlockPlace filter = new(index.End, 64);
        BlockPlace first = dictionary.Exists ? dictionary with { Offset = filter.End } : default;
        BlockPlace properties = new(dictionary.Exists ? first.End : filter.End, 100);
        TableLayout layout = new()
        {
            Index = index,
            Filter = filter,
            Properties = properties with { Length = 10_500 - (int)properties.Offset - BlockFormat.TrailerBytes },
            Dictionary = first,
            TwoLevelIndex = compressions == 4,
            FilterProbes = 6,
            DataBlocks = 7,
            Compressions = compressions,
        };
        using NativeBuffer buffer = new();
        MetaIndex.Encode(buffer, layout);
        return buffer.Written.ToArray();
    }

    private static byte[] Footer()
    {
        byte[] footer = new byte[TableFooter.Bytes];
        TableFooter.Encode(footer, new BlockPlace(4096 - TableFooter.Bytes - BlockFormat.TrailerBytes - 120, 120));
        return footer;
    }

    // Heads, offsets and ends as IndexBlock draws them, without versions and ordinals.
    private static byte[] Index(int count)
    {
        using NativeBuffer bytes = new();
        foreach (uint number in (ReadOnlySpan<uint>)[(uint)count, 0, 3, 0])
        {
            bytes.AppendUInt32(number);
        }

        byte[][] rests = [.. Enumerable.Range(0, count).Select(static i => Encoding.UTF8.GetBytes($"{i:D4}"))];
        foreach (byte[] rest in rests)
        {
            fixed (byte* p = rest)
            {
                bytes.AppendInt64((long)KeyOrder.Head(p, rest.Length));
            }
        }

        for (int i = 0; i <= count; i++)
        {
            bytes.AppendInt64(i * 500L);
        }

        for (int i = 1; i <= count; i++)
        {
            bytes.AppendUInt32((uint)(4 * i));
        }

        bytes.Append("key"u8);
        foreach (byte[] rest in rests)
        {
            bytes.Append(rest);
        }

        return bytes.Written.ToArray();
    }

    private static byte[] Segment(int groups)
    {
        const int Payload = 40;
        byte[] segment = new byte[JournalFormat.SegmentHeaderBytes + (groups * 160)];
        JournalFormat.WriteSegmentHeader(segment.AsSpan(0, JournalFormat.SegmentHeaderBytes), new SegmentHeader { Version = JournalFormat.Version, Sequence = 1, Salt = 77, Base = 0, Synced = 0, Previous = 0 });
        int at = JournalFormat.SegmentHeaderBytes;
        for (int i = 0; i < groups; i++)
        {
            LogPosition[] positions = [new LogPosition(1, 0, i + 1)];
            int head = JournalFormat.RecordHeadBytes(positions, Payload);
            int length = JournalFormat.GroupHeaderBytes + JournalFormat.Align(head + Payload);
            Span<byte> group = segment.AsSpan(at, length);
            JournalFormat.WriteGroupHeader(group, new GroupHeader { Version = JournalFormat.Version, Length = length, Previous = 0, Salt = 77, Offset = at - JournalFormat.SegmentHeaderBytes, Synced = 0 });
            JournalFormat.WriteRecordHead(group.Slice(JournalFormat.GroupHeaderBytes, head), (RecordKind)1, positions, Payload);
            at += length;
        }

        byte[] whole = segment[..at];
        Checksums.RepairJournal(whole);
        return whole;
    }

    private struct Records : IRecordVisitor
    {
        public long Most;

        public void Visit(in JournalRecord record)
        {
            Most -= 8;
            Assert.True(Most >= 0 && record.Payload.Length <= JournalFormat.MaxPayloadBytes && record.Positions.Length <= JournalFormat.MaxPositions);
        }
    }
}
