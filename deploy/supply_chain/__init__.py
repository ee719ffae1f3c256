"""What the images ship: locked packages, their licences, known holes, their origin."""
