using KeyVa.Indexes;
using KeyVa.Io;
using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Tests.Partitions;

public sealed class OperationEncodingTests
{
    [Fact]
    public void WhatIsWrittenIsRead()
    {
        for (int seed = 0; seed < 500; seed++)
        {
            var random = new Random(seed);
            using var buffer = new NativeBuffer();
            byte[] key = Bytes(random, 300);
            byte[] value = Bytes(random, 3000);
            byte[] expected = Bytes(random, 40);
            Condition condition = random.Next(5) switch
            {
                1 => Condition.IfAbsent,
                2 => Condition.IfPresent,
                3 => Condition.IfVersion(random.NextInt64()),
                4 => Condition.IfValue(expected),
                _ => default,
            };
            Expiry expiry = random.Next(3) switch
            {
                1 => Expiry.InMilliseconds(random.NextInt64(1, long.MaxValue)),
                2 => Expiry.AtUnixMilliseconds(random.NextInt64(1, long.MaxValue)),
                _ => Expiry.Never,
            };
            bool blind = random.Next(2) == 0;
            OperationEncoding.AppendPut(buffer, key, value, new WriteOptions { Condition = condition, Expiry = expiry });
            OperationEncoding.AppendRemove(buffer, key, condition, blind);

            OperationEncoding.AppendRemoveRange(buffer, key, value);
            OperationEncoding.AppendRollBack(buffer, key, value, seed);

            MergeEncoding.Append(buffer, key, random.Next(2) == 0 ? MergeFunction.Max : new Merges.Named("own", seed + 1), value, new WriteOptions { Condition = condition, Expiry = expiry });

            ReadOnlySpan<byte> bytes = buffer.Written;
            Assert.True(OperationEncoding.TryRead(ref bytes, out Operation put), $"seed {seed}");
            Assert.True(put.IsPut);
            Assert.True(put.Key.SequenceEqual(key) && put.Value.SequenceEqual(value));
            Assert.Equal(condition.Kind, put.Condition);
            Assert.Equal(condition.Version, put.ConditionVersion);
            Assert.True(put.ConditionValue.SequenceEqual(condition.Value.Span));
            Assert.Equal(expiry.Milliseconds, put.Expiry);
            Assert.Equal(expiry.IsRelative, put.IsExpiryRelative);
            Assert.True(OperationEncoding.TryRead(ref bytes, out Operation remove));
            Assert.False(remove.IsPut);
            Assert.Equal(blind, remove.IsBlind);
            Assert.Equal(condition.Kind, remove.Condition);
            Assert.False(remove.IsRange);
            Assert.True(OperationEncoding.TryRead(ref bytes, out Operation range));
            Assert.True(range.IsRange && !range.IsPut && range.Key.SequenceEqual(key) && range.To.SequenceEqual(value));
            Assert.True(OperationEncoding.TryRead(ref bytes, out Operation back));
            Assert.True(back.IsRollBack && !back.IsRange && back.Key.SequenceEqual(key) && back.To.SequenceEqual(value) && back.TargetVersion == seed);
            Assert.True(OperationEncoding.TryRead(ref bytes, out Operation merge));
            Assert.True(merge.IsMerge && !merge.IsPut && !merge.SpansRange && merge.Key.SequenceEqual(key) && merge.Value.SequenceEqual(value));
            Assert.Equal((condition.Kind, condition.Version, expiry.Milliseconds, expiry.IsRelative), (merge.Condition, merge.ConditionVersion, merge.Expiry, merge.IsExpiryRelative));
            Assert.True(merge.ConditionValue.SequenceEqual(condition.Value.Span));
            Assert.Equal(Limits.MaxValueBytesCeiling, merge.Limit);
            Assert.True(bytes.IsEmpty);
        }
    }

    [Fact]
    public void ChecksAreReadAsTheyWereWritten()
    {
        for (int seed = 0; seed < 300; seed++)
        {
            var random = new Random(seed);
            using var buffer = new NativeBuffer();
            byte[] key = Bytes(random, 300);
            byte[] to = Bytes(random, 300);
            byte[] value = Bytes(random, 40);
            Condition condition = random.Next(4) switch
            {
                0 => Condition.IfAbsent,
                1 => Condition.IfPresent,
                2 => Condition.IfVersion(random.NextInt64()),
                _ => Condition.IfValue(value),
            };
            var range = new RangeCheck
            {
                From = key,
                To = to,
                Digest = new RangeDigest { Count = random.NextInt64(), Sum = (ulong)random.NextInt64() },
                IsByHash = seed % 2 == 0,
                First = seed % 2 == 0 ? value : default,
                Last = seed % 4 == 0 ? to : default,
            };
            CheckEncoding.AppendKey(buffer, key, condition);
            CheckEncoding.AppendRange(buffer, range);
            ReadOnlySpan<byte> bytes = buffer.Written;
            Assert.True(OperationEncoding.TryRead(ref bytes, out Operation check), $"seed {seed}");
            Assert.True(check.IsCheck && !check.IsPut && !check.SpansRange && check.Key.SequenceEqual(key));
            Assert.Equal((condition.Kind, condition.Version), (check.Condition, check.ConditionVersion));
            Assert.True(check.ConditionValue.SequenceEqual(condition.Value.Span));
            ReadOnlySpan<byte> second = bytes;
            Assert.True(OperationEncoding.TryRead(ref bytes, out check) && check.IsRangeCheck && check.SpansRange && !check.IsRange && bytes.IsEmpty);
            RangeCheck read = RangeCheck.Read(check);
            Assert.True(read.From.SequenceEqual(key) && read.To.SequenceEqual(to) && read.First.SequenceEqual(range.First) && read.Last.SequenceEqual(range.Last));
            Assert.True(read.Digest.Equals(range.Digest) && read.IsByHash == range.IsByHash);
            for (int cut = 0; cut < second.Length; cut++)
            {
                ReadOnlySpan<byte> part = second[..cut];
                Assert.False(OperationEncoding.TryRead(ref part, out _), $"seed {seed}, cut {cut}");
            }
        }
    }

    [Fact]
    public void AnIndexCheckIsReadAsItWasWritten()
    {
        for (int seed = 0; seed < 200; seed++)
        {
            Random random = new(seed);
            byte[] from = new byte[random.Next(4)];
            byte[] to = new byte[random.Next(4)];
            byte[] first = new byte[1 + random.Next(300)];
            byte[] end = new byte[random.Next(300)];
            Array.ForEach([from, to, first, end], random.NextBytes);
            var check = new IndexCheck
            {
                PartitionFrom = from,
                PartitionTo = to,
                Index = random.NextInt64(),
                From = first,
                To = end,
                Digest = new RangeDigest { Count = random.NextInt64(), Sum = (ulong)random.NextInt64() },
            };
            using var buffer = new NativeBuffer();
            CheckEncoding.AppendIndex(buffer, check);
            ReadOnlySpan<byte> bytes = buffer.Written;
            Assert.True(OperationEncoding.TryRead(ref bytes, out Operation operation) && operation.IsIndexCheck && operation.SpansRange && !operation.IsRangeCheck && bytes.IsEmpty, $"seed {seed}");
            IndexCheck read = IndexCheck.Read(operation);
            Assert.True(read.PartitionFrom.SequenceEqual(from) && read.PartitionTo.SequenceEqual(to) && read.From.SequenceEqual(first) && read.To.SequenceEqual(end), $"seed {seed}");
            Assert.True(read.Index == check.Index && read.Digest.Equals(check.Digest), $"seed {seed}");
            for (int cut = 0; cut < buffer.Length; cut++)
            {
                ReadOnlySpan<byte> part = buffer.Written[..cut];
                Assert.False(OperationEncoding.TryRead(ref part, out _), $"seed {seed}, cut {cut}");
            }
        }
    }

    [Fact]
    public void CutBytesAreNoOperation()
    {
        using var buffer = new NativeBuffer();
        OperationEncoding.AppendPut(buffer, "key"u8, "value"u8, new WriteOptions { Condition = Condition.IfValue("other"u8.ToArray()), Expiry = Expiry.InMilliseconds(5) });
        for (int length = 0; length < buffer.Length; length++)
        {
            ReadOnlySpan<byte> cut = buffer.Written[..length];
            Assert.False(OperationEncoding.TryRead(ref cut, out _), $"{length} bytes");
        }
    }

    [Fact]
    public void AMergeWithACutOrUnknownPartIsNone()
    {
        using var buffer = new NativeBuffer();
        int limit = MergeEncoding.Append(
            buffer, "key"u8, new Merges.Named("own", 300), "operand"u8,
            new WriteOptions { Condition = Condition.IfValue("other"u8.ToArray()), Expiry = Expiry.InMilliseconds(5) });
        MergeEncoding.SetLimit(buffer, limit, 77);
        ReadOnlySpan<byte> whole = buffer.Written;
        Assert.True(OperationEncoding.TryRead(ref whole, out Operation merge) && merge.Limit == 77);
        for (int length = 0; length < buffer.Length; length++)
        {
            ReadOnlySpan<byte> cut = buffer.Written[..length];
            Assert.False(OperationEncoding.TryRead(ref cut, out _), $"{length} bytes");
        }

        const int Flags = 5;
        foreach ((int offset, byte value) in new (int, byte)[] { (Flags, 0xFF), (Flags, 20), (Flags + 8, 0x80), (limit + 3, 0x80), (limit + 3, 0x7F), (limit + 5, 0) })
        {
            byte[] damaged = buffer.Written.ToArray();
            damaged[offset] = value;
            ReadOnlySpan<byte> bytes = damaged;
            Assert.False(OperationEncoding.TryRead(ref bytes, out _), $"{value} at {offset}");
        }
    }

    [Fact]
    public void ARangeTakesNothingElse()
    {
        foreach (int head in Enumerable.Range(131, 125).Where(head => head is not (132 or 133 or 143)))
        {
            ReadOnlySpan<byte> bytes = [(byte)head, 1, (byte)'a', 1, (byte)'b', 0, 0, 0, 0, 0, 0, 0, 0];
            Assert.False(OperationEncoding.TryRead(ref bytes, out _));
        }

        foreach (byte kind in (byte[])[0, 5, 7, 255])
        {
            ReadOnlySpan<byte> bytes = [129, 1, (byte)'a', kind, 1, (byte)'b', 0, 0, 0, 0, 0, 0, 0, 0];
            Assert.False(OperationEncoding.TryRead(ref bytes, out _));
        }

        byte[] range = [130, 1, (byte)'a', 1, (byte)'b', 17, .. new byte[17]];
        ReadOnlySpan<byte> whole = range;
        Assert.True(OperationEncoding.TryRead(ref whole, out _));
        range[6] = 2;
        whole = range;
        Assert.False(OperationEncoding.TryRead(ref whole, out _));
    }

    [Fact]
    public void ARollBackHasAVersionThatCanBe()
    {
        using var buffer = new NativeBuffer();
        OperationEncoding.AppendRollBack(buffer, "a"u8, "b"u8, 7);
        for (int length = 0; length < buffer.Length; length++)
        {
            ReadOnlySpan<byte> cut = buffer.Written[..length];
            Assert.False(OperationEncoding.TryRead(ref cut, out _), $"{length} bytes");
        }

        using var negative = new NativeBuffer();
        OperationEncoding.AppendRollBack(negative, "a"u8, "b"u8, -1);
        ReadOnlySpan<byte> bytes = negative.Written;
        Assert.False(OperationEncoding.TryRead(ref bytes, out _));
    }

    [Fact]
    public void AChangeOfASettingIsReadOrRefused()
    {
        using var command = new CommandBuilder();
        command.Setting("acknowledgement", "semi-sync=2");
        Assert.Equal((GroupEntry.SettingsFormat, true, false), (command.Format, command.NeedsOutcome, command.OnlyRemovals));
        ReadOnlySpan<byte> bytes = command.Buffer.Written;
        Assert.True(OperationEncoding.TryRead(ref bytes, out Operation operation));
        Assert.True(bytes.IsEmpty && operation is { IsSetting: true, IsWrite: false, SpansRange: false, IsPut: false, IsCheck: false });
        Assert.True(operation.Key.SequenceEqual("acknowledgement"u8) && operation.Value.SequenceEqual("semi-sync=2"u8));
        for (int length = 0; length < command.Buffer.Length; length++)
        {
            ReadOnlySpan<byte> cut = command.Buffer.Written[..length];
            Assert.False(OperationEncoding.TryRead(ref cut, out _), $"{length} bytes");
        }
    }

    [Fact]
    public void AnOperationAboutAnIndexIsReadOrRefused()
    {
        using var buffer = new NativeBuffer();
        OperationEncoding.AppendIndex(buffer, IndexAction.Fill, 42, "from"u8);
        ReadOnlySpan<byte> bytes = buffer.Written;
        Assert.True(OperationEncoding.TryRead(ref bytes, out Operation operation));
        Assert.True(bytes.IsEmpty && !operation.IsWrite && !operation.IsRange && operation.Key.SequenceEqual("from"u8));
        Assert.Equal((IndexAction.Fill, 42), (operation.IndexAction, operation.IndexId));
        for (int length = 0; length < buffer.Length; length++)
        {
            ReadOnlySpan<byte> cut = buffer.Written[..length];
            Assert.False(OperationEncoding.TryRead(ref cut, out _), $"{length} bytes");
        }

        foreach (byte action in (byte[])[0, 5, 255])
        {
            buffer.Slice(buffer.Length - 9, 1)[0] = action;
            ReadOnlySpan<byte> unknown = buffer.Written;
            Assert.False(OperationEncoding.TryRead(ref unknown, out _));
        }
    }

    [Fact]
    public void ARelativeExpiryBeyondTimeIsTheEndOfTime()
    {
        var operation = new Operation { Expiry = long.MaxValue, IsExpiryRelative = true };
        Assert.Equal(long.MaxValue, operation.ExpiresAt(1_700_000_000_000));
        Assert.Equal(0, default(Operation).ExpiresAt(5));
    }

    private static byte[] Bytes(Random random, int most)
    {
        var bytes = new byte[random.Next(most)];
        random.NextBytes(bytes);
        return bytes;
    }
}
