using KeyVa.Io;

namespace KeyVa.Cluster.Transport;

/// <summary>
/// One stream, on the sender's side. It offers; the receiver says where to begin and how far to go, and says so again after a break or a
/// damaged chunk. What was read once counts in the checksum once, however often it is sent. Time is given with each call. Not thread-safe.
/// </summary>
internal sealed class SnapshotSending : IDisposable
{
    // Constant.
    private readonly IFileSystem _fileSystem;
    private readonly SnapshotStreamOptions _options;
    private readonly IBulkChannel _channel;
    private readonly IReadOnlyList<SnapshotFile> _files;
    private readonly SnapshotOffer _offer;
    private readonly long[] _starts;
    private readonly Action<bool> _done;

    private State _state = State.Offering;
    private StorageFile? _file;
    private int _fileNumber = -1;
    private long _position;
    private long _limit;
    private long _farthest;
    private uint _checksum;
    private TimeSpan _offerDue;
    private TimeSpan _lastProgress;
    private long _lastPlace = -1;
    private int _repeats;

    private enum State
    {
        Offering,
        Sending,
        Ended,
        Over,
    }

    /// <summary>Looks at the files; throws a <see cref="StorageException"/> if one cannot be opened.</summary>
    public SnapshotSending(
        ulong peer, ulong stream, ReadOnlyMemory<byte> head, IReadOnlyList<SnapshotFile> files, Action<bool> done,
        IBulkChannel channel, IFileSystem fileSystem, SnapshotStreamOptions options, TimeSpan now)
    {
        Peer = peer;
        Stream = stream;
        _files = files;
        _done = done;
        _channel = channel;
        _fileSystem = fileSystem;
        _options = options;
        _offerDue = now;
        _lastProgress = now;
        OfferedFile[] offered = new OfferedFile[files.Count];
        _starts = new long[files.Count + 1];
        for (int i = 0; i < offered.Length; i++)
        {
            using StorageFile file = fileSystem.Open(files[i].Path, writable: false);
            offered[i] = new OfferedFile(files[i].Name, file.Length);
            _starts[i + 1] = _starts[i] + file.Length;
        }

        _offer = new SnapshotOffer(head.ToArray(), offered);
    }

    public ulong Peer { get; }

    public ulong Stream { get; }

    public bool IsOver => _state == State.Over;

    /// <summary>Whether more could be sent at once.</summary>
    public bool HasWork => _state == State.Sending && (_position < _limit || _position == _offer.TotalBytes);

    /// <summary>A connection is there again: the stream is offered at once.</summary>
    public void Connected(TimeSpan now)
    {
        if (_state != State.Over)
        {
            _state = State.Offering;
            _offerDue = now;
        }
    }

    /// <summary>The receiver has said something.</summary>
    public void Heard(SnapshotMessageKind kind, ReadOnlySpan<byte> message, TimeSpan now)
    {
        switch (kind)
        {
            case SnapshotMessageKind.Accept when SnapshotMessage.TryReadNumber(message, 0, out ulong position) && SnapshotMessage.TryReadNumber(message, 1, out ulong limit)
                && position <= (ulong)_offer.TotalBytes && limit <= long.MaxValue:
                GoOnAt((long)position, (long)limit, now);
                break;
            case SnapshotMessageKind.Credit when SnapshotMessage.TryReadNumber(message, 0, out ulong limit) && limit <= long.MaxValue:
                if (_state is State.Sending or State.Ended)
                {
                    _lastProgress = (long)limit > _limit ? now : _lastProgress;
                    _limit = Math.Max(_limit, (long)limit);
                    _offerDue = now + _options.Retry;
                }

                break;
            case SnapshotMessageKind.Done when _state is State.Ended or State.Offering:
                Finish(true);
                break;
            case SnapshotMessageKind.Failed:
                Finish(false);
                break;
        }
    }

    /// <summary>
    /// Sends what may be sent: at most so many bytes, returned. Offers again when there was no word for long, and gives up when there was no progress
    /// for longer.
    /// </summary>
    public long Pump(long mostBytes, byte[] buffer, TimeSpan now)
    {
        if (_state == State.Over)
        {
            return 0;
        }

        if (now - _lastProgress > _options.GiveUp)
        {
            Cancel();
            return 0;
        }

        if (now >= _offerDue)
        {
            _state = State.Offering;
            _offerDue = now + _options.Retry;
            _ = _channel.TrySend(Peer, _offer.Encode(Stream));
        }

        long sent = 0;
        try
        {
            while (_state == State.Sending && sent < mostBytes)
            {
                if (_position == _offer.TotalBytes)
                {
                    SendEnd();
                    break;
                }

                int bytes = SendChunk(buffer);
                if (bytes == 0)
                {
                    break;
                }

                sent += bytes;
            }
        }
        catch (StorageException)
        {
            // The file has gone, or cannot be read: the driver begins anew with files that can.
            Cancel();
        }

        return sent;
    }

    /// <summary>Ends the stream as failed, and tells the receiver.</summary>
    public void Cancel()
    {
        if (_state != State.Over)
        {
            Span<byte> message = stackalloc byte[SnapshotMessage.HeaderBytes];
            _ = _channel.TrySend(Peer, message[..SnapshotMessage.Write(message, SnapshotMessageKind.Cancel, Stream)]);
            Finish(false);
        }
    }

    public void Dispose()
    {
        _state = State.Over;
        _file?.Dispose();
        _file = null;
    }

    private void Finish(bool success)
    {
        if (_state != State.Over)
        {
            Dispose();
            _done(success);
        }
    }

    private void GoOnAt(long position, long limit, TimeSpan now)
    {
        if (_state == State.Over)
        {
            return;
        }

        if (position > _lastPlace)
        {
            _lastPlace = position;
            _lastProgress = now;
            _repeats = 0;
        }
        else if (++_repeats > _options.MaxRepeats)
        {
            // What reaches the receiver is damaged, or nothing does, for a reason that repetition does not mend.
            Cancel();
            return;
        }

        _state = State.Sending;
        _position = Math.Min(position, _farthest);
        _limit = limit;
        _offerDue = now + _options.Retry;
    }

    private int SendChunk(byte[] buffer)
    {
        if (_fileNumber < 0 || _position < _starts[_fileNumber] || _position >= _starts[_fileNumber + 1])
        {
            OpenFileAt(_position);
        }

        long ofFile = _starts[_fileNumber + 1] - _position;
        int bytes = (int)Math.Min(Math.Min(ofFile, _limit - _position), Math.Min(_options.ChunkBytes, buffer.Length - SnapshotMessage.ChunkHeaderBytes));
        if (bytes <= 0)
        {
            return 0;
        }

        Span<byte> data = buffer.AsSpan(SnapshotMessage.ChunkHeaderBytes, bytes);
        if (_file!.Read(_position - _starts[_fileNumber], data) != bytes)
        {
            throw new StorageException("reading a snapshot", _file.Path, 0, "it is shorter than it was");
        }

        SnapshotMessage.Write(buffer, SnapshotMessageKind.Chunk, Stream, (ulong)_position);
        if (!_channel.TrySend(Peer, buffer.AsSpan(0, SnapshotMessage.ChunkHeaderBytes + bytes)))
        {
            return 0;
        }

        if (_position + bytes > _farthest)
        {
            _checksum = Crc32C.Extend(_checksum, data[(int)(_farthest - _position)..]);
            _farthest = _position + bytes;
        }

        _position += bytes;
        return bytes;
    }

    private void OpenFileAt(long position)
    {
        _file?.Dispose();
        _file = null;
        // The last one that begins there: those before it are empty.
        _fileNumber = _files.Count - 1;
        while (_starts[_fileNumber] > position)
        {
            _fileNumber--;
        }

        _file = _fileSystem.Open(_files[_fileNumber].Path, writable: false);
    }

    private void SendEnd()
    {
        Span<byte> message = stackalloc byte[SnapshotMessage.HeaderBytes + 8];
        if (_channel.TrySend(Peer, message[..SnapshotMessage.Write(message, SnapshotMessageKind.End, Stream, _checksum)]))
        {
            _state = State.Ended;
        }
    }
}
