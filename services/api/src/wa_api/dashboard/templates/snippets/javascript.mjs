const token = 'YOUR_TOKEN_HERE';

// Send text message
async function sendTextMessage(to, message) {
  const response = await fetch('http://localhost:3000/api/messages/send', {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      'Authorization': `Bearer ${token}`
    },
    body: JSON.stringify({ to, type: 'text', message })
  });
  return response.json();
}

// Send image with caption
async function sendImage(to, mediaUrl, caption) {
  const response = await fetch('http://localhost:3000/api/messages/send', {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      'Authorization': `Bearer ${token}`
    },
    body: JSON.stringify({ to, type: 'image', mediaUrl, message: caption })
  });
  return response.json();
}

await sendTextMessage('919876543210', 'Hello!');
await sendImage('919876543210', 'https://example.com/photo.jpg', 'Check this!');
