using System.Collections.Concurrent;
using Google.Protobuf;
using KeyVa.Protocol.Grpc;
using Methods = KeyVa.Protocol.V1.Methods;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Client;

/// <summary>
/// Sends writes in sessions, so that those of which it is not known whether they were done can be sent again and are done once. Thread-safe. Each session has one
/// write under way: a pool of as many as there were writes at once. Writes over several partitions have none.
/// </summary>
internal sealed class RemoteSessions(Connection connection, RemoteOptions options)
{
    private const int OpenedAtOnce = 8;

    /// <summary>How often a write that was not sent yet gets a new session because the server has forgotten the one it had.</summary>
    private const int MostRenewals = 2;

    private readonly ConcurrentQueue<Held> _free = new();
    private volatile bool _areMissing;

    private sealed class Held(long id)
    {
        public long Id => id;

        public long Sequence { get; set; }
    }

    public async ValueTask<Reply<TResponse>> WriteAsync<TRequest, TResponse>(
        GrpcMethod<TRequest, TResponse> method, TRequest request, Action<TRequest, Wire.Session?> inSession, CancellationToken cancellation)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse>
    {
        if (options.WriteRetries <= 0 || await RentAsync(cancellation) is not { } held)
        {
            return await connection.CallAsync(method, request, isRead: false, cancellation);
        }

        // A session whose last write has no known end is not used again.
        held.Sequence++;
        bool mayBeDone = false;
        for ((int attempt, int renewals) = (0, 0); ; attempt++)
        {
            inSession(request, new Wire.Session { Id = held.Id, Sequence = held.Sequence });
            Reply<TResponse> reply;
            try
            {
                reply = await connection.CallAsync(method, request, isRead: false, cancellation);
            }
            catch (ServerUnreachableException lost)
            {
                if (attempt >= options.WriteRetries)
                {
                    if (mayBeDone && lost.NothingSent)
                    {
                        throw SentBefore(lost);
                    }

                    throw;
                }

                mayBeDone |= !lost.NothingSent;
                await connection.PauseBeforeWriteAsync(attempt, cancellation);
                continue;
            }

            if (reply.Status == Status.Expired && !mayBeDone && renewals++ < MostRenewals && await RentAsync(cancellation) is { } other)
            {
                held = other;
                held.Sequence++;
                continue;
            }

            if (reply.Status == Status.Unsupported && !mayBeDone)
            {
                // It goes to several partitions, of which each knows its own sessions alone: it is sent once.
                _free.Enqueue(held);
                inSession(request, null);
                return await connection.CallAsync(method, request, isRead: false, cancellation);
            }

            if (IsDecided(reply))
            {
                _free.Enqueue(held);
                return reply;
            }

            mayBeDone |= reply.Status == Status.Unknown;
            if (!mayBeDone)
            {
                _free.Enqueue(held);
                return reply;
            }

            if (reply.Status == Status.Expired || attempt >= options.WriteRetries)
            {
                return reply with { Status = Status.Unknown };
            }

            await connection.PauseBeforeWriteAsync(attempt, cancellation);
        }
    }

    /// <summary>Whether the answer is what was decided when the write was applied, or may not be applied at all.</summary>
    private static bool IsDecided<T>(in Reply<T> reply)
        where T : class =>
        reply.Message is not null || reply.Status is Status.NotFound or Status.ConditionFailed or Status.MergeRefused or Status.NotUnique or Status.NotIndexable;

    /// <summary>The last attempt never left, but an earlier one may have been done.</summary>
    private static ServerUnreachableException SentBefore(ServerUnreachableException lost) =>
        new(lost.Address, $"{lost.Message}; the write had been sent before: whether it happened is unknown", nothingSent: false, lost);

    private async ValueTask<Held?> RentAsync(CancellationToken cancellation)
    {
        if (_free.TryDequeue(out Held? held) || _areMissing)
        {
            return held;
        }

        Wire.OpenSessionsRequest request = new() { Count = OpenedAtOnce };
        Reply<Wire.OpenSessionsResponse> reply;
        try
        {
            reply = await connection.CallAsync(Methods.OpenSessions, request, isRead: true, cancellation, mayBeMissing: true);
        }
        catch (ServerUnreachableException lost)
        {
            throw new ServerUnreachableException(lost.Address, $"{lost.Message}; the write was not sent", nothingSent: true, lost);
        }

        if (reply.Message is not { Ids.Count: > 0 } opened)
        {
            // A server that is alone opens none, and one of before does not know the call. Of others it may be had later.
            _areMissing = reply.Message is not null || reply.Status == Status.Unsupported;
            return null;
        }

        foreach (long id in opened.Ids.Skip(1))
        {
            _free.Enqueue(new Held(id));
        }

        return new Held(opened.Ids[0]);
    }
}
