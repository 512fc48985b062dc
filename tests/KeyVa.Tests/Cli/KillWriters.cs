using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Text;
using KeyVa.Client;
using Xunit;

namespace KeyVa.Tests.Cli;

/// <summary>Writes to a server that is going to die, and knows afterwards what must be there. One thread at a time.</summary>
internal interface IKillWriter
{
    /// <summary>Writes once; a <see cref="StoreException"/> leaves open whether it happened.</summary>
    Task WriteAsync(RemoteStore store);

    /// <summary>Requires everything acknowledged so far, whole, and takes over what is there.</summary>
    Task CheckAsync(RemoteStore store, string where);
}

/// <summary>
/// Batches over the same keys, each with the next number in every key; the last key is there with even numbers only, so
/// every other batch removes it.
/// </summary>
internal sealed class BatchWriter(int id, string evenPrefix, string oddPrefix) : IKillWriter
{
    private const int Keys = 5;

    private readonly byte[][] _keys =
        [.. Enumerable.Range(0, Keys).Select(i => Encoding.UTF8.GetBytes($"{(i % 2 == 0 ? evenPrefix : oddPrefix)}/batch{id}/{i}"))];

    private long _sent;
    private long _acknowledged;

    public async Task WriteAsync(RemoteStore store)
    {
        long number = ++_sent;
        using WriteBatch batch = new();
        for (int i = 0; i < Keys; i++)
        {
            if (i == Keys - 1 && number % 2 != 0)
            {
                batch.Remove(_keys[i]);
            }
            else
            {
                batch.Put(_keys[i], Value(i, number));
            }
        }

        WriteResult result = await store.WriteAsync(batch);
        Assert.True(result.IsOk, $"{result.Status}: {result.Detail}");
        _acknowledged = number;
    }

    public async Task CheckAsync(RemoteStore store, string where)
    {
        MultiReadResult read = await store.GetAsync([.. _keys.Select(static key => (ReadOnlyMemory<byte>)key)]);
        Assert.Equal(Status.Ok, read.Status);
        long number = read.Records[0] is { } first ? BinaryPrimitives.ReadInt64LittleEndian(first.Value.Span) : 0;
        where += $": batches of writer {id}";
        Assert.True(number >= _acknowledged && number <= _sent, $"{where}: {number} is there, acknowledged {_acknowledged}, sent {_sent}");
        for (int i = 0; i < Keys; i++)
        {
            bool expected = number > 0 && (i < Keys - 1 || number % 2 == 0);
            Assert.True(expected == read.Records[i].HasValue, $"{where}: key {i} of batch {number} is {(expected ? "missing" : "there")}");
            Assert.True(
                !expected || read.Records[i]!.Value.Value.Span.SequenceEqual(Value(i, number)), $"{where}: key {i} is not of batch {number}");
            Assert.True(!expected || read.Records[i]!.Value.Version == read.Records[0]!.Value.Version, $"{where}: key {i} has another version");
        }

        _sent = _acknowledged = number;
    }

    // The number, and then bytes that follow from key and number.
    private byte[] Value(int key, long number)
    {
        Random random = new(HashCode.Combine(id, key, number));
        byte[] value = new byte[8 + random.Next(1500)];
        random.NextBytes(value);
        BinaryPrimitives.WriteInt64LittleEndian(value, number);
        return value;
    }
}

/// <summary>
/// Two writers that contend for one chain: whoever read its head at a version appends the next link, if the head is still
/// at that version, together with an entry that says whose link it is.
/// </summary>
internal sealed class ChainWriter : IKillWriter
{
    private readonly Chain _chain;
    private readonly byte _id;

    private ChainWriter(Chain chain, byte id)
    {
        _chain = chain;
        _id = id;
    }

    public static ChainWriter[] Pair(string prefix)
    {
        Chain chain = new(prefix);
        return [new ChainWriter(chain, 1), new ChainWriter(chain, 2)];
    }

    public async Task WriteAsync(RemoteStore store)
    {
        while (true)
        {
            ReadResult head = await store.GetAsync(_chain.Head);
            long number = 1 + (head.Found ? BinaryPrimitives.ReadInt64LittleEndian(head.Record.Value.Span) : 0);
            byte[] next = new byte[8];
            BinaryPrimitives.WriteInt64LittleEndian(next, number);
            Condition unchanged = head.Found ? Condition.IfVersion(head.Record.Version) : Condition.IfAbsent;
            using WriteBatch batch = new();
            batch.Put(_chain.Head, next, new WriteOptions { Condition = unchanged });
            batch.Put(_chain.Link(number), [_id], new WriteOptions { Condition = Condition.IfAbsent });
            WriteResult result = await store.WriteAsync(batch);
            if (result.IsOk)
            {
                Assert.True(_chain.Owners.TryAdd(number, _id), $"link {number} was given twice");
                return;
            }

            Assert.True(result is { Status: Status.ConditionFailed, FailedOperation: 0 }, $"{result.Status}: {result.Detail}");
        }
    }

    public async Task CheckAsync(RemoteStore store, string where)
    {
        ReadResult head = await store.GetAsync(_chain.Head);
        long length = head.Found ? BinaryPrimitives.ReadInt64LittleEndian(head.Record.Value.Span) : 0;
        long acknowledged = _chain.Owners.IsEmpty ? 0 : _chain.Owners.Keys.Max();
        // Both writers may have had one on its way, the second one on top of the first.
        Assert.True(length >= acknowledged && length <= acknowledged + 2, $"{where}: the chain has {length} links, {acknowledged} acknowledged");
        List<ReadOnlyMemory<byte>> keys = [];
        for (long number = 1; number <= length + 1; number++)
        {
            keys.Add(_chain.Link(number));
        }

        MultiReadResult links = await store.GetAsync(keys);
        Assert.Equal(Status.Ok, links.Status);
        for (int number = 1; number <= length; number++)
        {
            Assert.True(links.Records[number - 1].HasValue, $"{where}: link {number} of {length} is missing");
            byte owner = links.Records[number - 1]!.Value.Value.Span[0];
            Assert.True(_chain.Owners.GetOrAdd(number, owner) == owner, $"{where}: link {number} belongs to another writer");
        }

        Assert.False(links.Records[(int)length].HasValue, $"{where}: a link behind the end, {length + 1}, is there");
    }

    private sealed class Chain(string prefix)
    {
        public byte[] Head { get; } = Encoding.UTF8.GetBytes($"{prefix}/chain");

        public ConcurrentDictionary<long, byte> Owners { get; } = new();

        public byte[] Link(long number) => Encoding.UTF8.GetBytes($"{prefix}/chain/{number}");
    }
}
