using KeyVa.Cluster;
using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Tests.Cluster;

/// <summary>What nodes tell each other of their partitions comes out as it went in, and what no store could have is none.</summary>
public sealed class PartitionLayoutTests
{
    [Fact]
    public void ALayoutComesOutAsItWentIn()
    {
        PartitionLayout layout = Layout(9, (2, "", "g"), (5, "p", ""), (7, "g", "p"));
        Assert.True(PartitionLayout.TryDecode(layout.Encode(), out PartitionLayout read));
        Assert.Equal(9, read.NextId);
        Assert.True(read.HasSame(layout) && layout.HasSame(read));
        Assert.Equal(layout.Encode(), read.Encode());
        Assert.True(PartitionLayout.TryDecode(Layout(1).Encode(), out read));
        Assert.Empty(read.Partitions);
        Assert.False(read.HasSame(layout));
    }

    [Fact]
    public void LayoutsThatDifferAnywhereAreNotTheSame()
    {
        PartitionLayout layout = Layout(4, (1, "", "g"), (2, "g", ""));
        Assert.False(layout.HasSame(Layout(4, (1, "", "g"))));
        Assert.False(layout.HasSame(Layout(4, (1, "", "g"), (3, "g", ""))));
        Assert.False(layout.HasSame(Layout(4, (1, "", "h"), (2, "h", ""))));
        Assert.False(layout.HasSame(new PartitionLayout(4, [layout.Partitions[0], layout.Partitions[1] with { Engine = EngineKind.Memory }])));
        Assert.True(layout.HasSame(Layout(9, (1, "", "g"), (2, "g", ""))));
    }

    [Fact]
    public void WhatNoStoreCouldHaveIsNone()
    {
        Assert.False(PartitionLayout.TryDecode(Layout(3, (2, "", "g"), (1, "g", "")).Encode(), out _));
        Assert.False(PartitionLayout.TryDecode(Layout(2, (1, "", "g"), (2, "g", "")).Encode(), out _));
        Assert.False(PartitionLayout.TryDecode(Layout(9, (1, "", "h"), (2, "g", "")).Encode(), out _));
        Assert.False(PartitionLayout.TryDecode(Layout(9, (1, "", ""), (2, "g", "p")).Encode(), out _));
        Assert.False(PartitionLayout.TryDecode(Layout(9, (1, "p", "g")).Encode(), out _));
        Assert.False(PartitionLayout.TryDecode(Layout(9, (0, "", "")).Encode(), out _));
        byte[] engine = Layout(9, (1, "", "")).Encode();
        engine[21] = 7;
        Assert.False(PartitionLayout.TryDecode(engine, out _));
        byte[] format = Layout(9, (1, "", "")).Encode();
        format[0]++;
        Assert.False(PartitionLayout.TryDecode(format, out _));
    }

    [Fact]
    public void BytesOfAnyKindDoNoHarm()
    {
        byte[] bytes = Layout(9, (1, "", "g"), (2, "g", "p"), (3, "p", "")).Encode();
        for (int length = 0; length < bytes.Length; length++)
        {
            Assert.False(PartitionLayout.TryDecode(bytes.AsSpan(0, length), out _));
        }

        Assert.False(PartitionLayout.TryDecode([.. bytes, 0], out _));
        Random random = new(1);
        for (int round = 0; round < 20_000; round++)
        {
            byte[] changed = (byte[])bytes.Clone();
            changed[random.Next(changed.Length)] = (byte)random.Next(256);
            if (PartitionLayout.TryDecode(changed, out PartitionLayout read))
            {
                Assert.Equal(changed, read.Encode());
            }
        }
    }

    private static PartitionLayout Layout(long next, params (long Id, string From, string To)[] partitions) => new(
        next,
        [.. partitions.Select(static one => new PartitionDefinition(one.Id, new KeyRange(Bytes(one.From), Bytes(one.To)), EngineKind.Lsm, IsVolatile: false))]);

    private static byte[] Bytes(string text) => System.Text.Encoding.UTF8.GetBytes(text);
}
