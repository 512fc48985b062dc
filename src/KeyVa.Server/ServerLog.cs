using Microsoft.Extensions.Logging;

namespace KeyVa.Server;

/// <summary>What the server itself has to say. Thread-safe.</summary>
internal sealed partial class ServerLog(ILogger log)
{
    [LoggerMessage(Level = LogLevel.Warning, Message = "While opening the store: {Note}")]
    public partial void Recovered(string note);

    [LoggerMessage(Level = LogLevel.Information, Message = "{Listener} listens on {Address}")]
    public partial void Listening(string listener, string address);

    [LoggerMessage(Level = LogLevel.Critical, Message = "The store takes no writes any more; reads go on. Stop the server, look after the disk, run 'keyva verify' and start again")]
    public partial void Failed(Exception failure);

    [LoggerMessage(Level = LogLevel.Error, Message = "Scrub found damage in {File} at offset {Offset}: {Detail}. Restore a snapshot, or stop the server and run 'keyva repair'")]
    public partial void Damaged(string file, long offset, string detail);

    [LoggerMessage(Level = LogLevel.Information, Message = "There were no users: the administrator '{User}' was made, with the password given")]
    public partial void FirstAdministrator(string user);

    [LoggerMessage(Level = LogLevel.Warning, Message = "There were no users: the administrator '{User}' was made; its token, which ends when it gets a password, stands in {Path}")]
    public partial void FirstAdministratorToken(string user, string path);

    [LoggerMessage(Level = LogLevel.Information, Message = "The certificate in {File} was read anew; it is valid until {NotAfter:u}")]
    public partial void CertificatesRead(string file, DateTime notAfter);

    [LoggerMessage(Level = LogLevel.Error, Message = "The certificates have changed and cannot be read, so those before stay in use: {Reason}")]
    public partial void CertificatesNotRead(string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Listener} listens beyond loopback without TLS: passwords and data can be read on the way")]
    public partial void Unencrypted(string listener);

    [LoggerMessage(Level = LogLevel.Information, Message = "Stopping; requests under way may finish")]
    public partial void Stopping();

    [LoggerMessage(Level = LogLevel.Information, Message = "Stopped")]
    public partial void Stopped();

    [LoggerMessage(Level = LogLevel.Error, Message = "A defect in serving a Redis client; its connection was closed")]
    public partial void RespDefect(Exception defect);

    [LoggerMessage(Level = LogLevel.Warning, Message = "A Redis client could not be accepted: {Reason}")]
    public partial void RespNotAccepted(string reason);
}
