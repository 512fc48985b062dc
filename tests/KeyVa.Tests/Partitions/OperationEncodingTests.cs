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
            Assert.True(bytes.IsEmpty);
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
    public void ARangeTakesNothingElse()
    {
        for (int head = 129; head < 256; head++)
        {
            if (head == 133)
            {
                continue;
            }

            ReadOnlySpan<byte> bytes = [(byte)head, 1, (byte)'a', 1, (byte)'b', 0, 0, 0, 0, 0, 0, 0, 0];
            Assert.False(OperationEncoding.TryRead(ref bytes, out _));
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
